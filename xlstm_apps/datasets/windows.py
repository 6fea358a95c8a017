"""Windows of context and target, gathered by index from the table's flat arrays; none is ever stored."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from .covariate_rows import CovariateRows
from .scaler import Scaler
from .table import SeriesTable

Part = Literal["train", "val", "test"]
Batch = dict[str, Tensor]


class WindowDataset(Dataset[Batch]):
    """Every (series, cutoff) of one part of a table, as a map-style dataset whose batches are gathered in one step.

    A cutoff is the row number of the first target row. Targets lie wholly inside the part; contexts of validation and
    test reach back into the parts before it, so that every validation and test target is scored, whatever the context
    length. A series too short for one full context is padded on the left, masked. Left out and counted in `skipped`:
    windows without an observed target; in training also those without an observed context.

    Args:
        table: the series.
        scaler: statistics of the training part, in the table's order.
        part: which part the targets lie in.
        split: `(train_end, val_end)` per series, from `split_points`.
        context_length: L, rows before the cutoff.
        prediction_length: H, rows from the cutoff on.
        stride: rows between cutoffs; the part's last window is always among them.

    Raises:
        ValueError: no series has a usable window; says which length falls short.
    """

    def __init__(
        self,
        table: SeriesTable,
        scaler: Scaler,
        part: Part,
        split: Sequence[tuple[int, int]],
        context_length: int,
        prediction_length: int,
        stride: int = 1,
    ) -> None:
        if min(context_length, prediction_length, stride) < 1:
            raise ValueError(
                f"context_length {context_length}, prediction_length {prediction_length} and stride {stride} must be "
                "1 or more"
            )
        if part not in ("train", "val", "test"):
            raise ValueError(f"part is 'train', 'val' or 'test', not {part!r}")
        if len(split) != len(table) or len(scaler.mean) != len(table):
            raise ValueError(
                f"the table has {len(table)} series, but split has {len(split)} and the scaler {len(scaler.mean)}"
            )
        self.part: Part = part
        self.context_length, self.prediction_length, self.stride = context_length, prediction_length, stride
        self._gather = _Gather(table, scaler)
        borders = np.asarray(split, dtype=np.int64).reshape(-1, 2)
        first, last = _cutoffs(table.lengths, borders, part, context_length, prediction_length)
        # Cutoffs first, first + stride, ..., and the last one, so that no target row stays unscored.
        counts = np.where(last >= first, -(-(last - first) // stride) + 1, 0)
        self._first, self._last = torch.from_numpy(first), torch.from_numpy(last)
        self._ends = torch.from_numpy(np.cumsum(counts))
        candidates = int(self._ends[-1])
        usable = _usable(table, self._locate, candidates, context_length, prediction_length, part)
        self._chosen: Tensor | None = None if usable.all() else torch.from_numpy(np.flatnonzero(usable))
        self._length = int(usable.sum())
        self.skipped = {
            "series": int(len(table) - self._used(counts).sum()),
            "windows": candidates - self._length,
        }
        """Series of the table without a window here, and windows left out for want of observed values."""
        if self._length == 0:
            raise ValueError(_why_empty(table, borders, part, prediction_length, candidates))

    @classmethod
    def after(
        cls,
        table: SeriesTable,
        scaler: Scaler,
        first: np.ndarray,
        context_length: int,
        prediction_length: int,
        stride: int = 1,
    ) -> "WindowDataset":
        """Windows of the end of every series, whose first cutoff is `first[i]`, int64 [S]."""
        borders = [(row, row) for row in first.tolist()]
        return cls(table, scaler, "test", borders, context_length, prediction_length, stride)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Batch:
        return {name: x[0] for name, x in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int] | Tensor) -> Batch:
        """A batch of windows: `context` [B, L, C] and `target` [B, H, C] scaled float32 with 0 for NaN, `context_mask`
        and `target_mask` (True = observed), `series` [B], `cutoff` [B], `mean` and `std` [B, C] to undo the scaling,
        `floor` [B, C]; and where the table has covariates, those of `CovariateRows.windows`.
        """
        device = self._ends.device
        index = torch.as_tensor(indices, dtype=torch.int64)  # checked where it is, so that a GPU need not be waited for
        if index.numel() and (int(index.min()) < -self._length or int(index.max()) >= self._length):
            raise IndexError(f"window index out of range: there are {self._length} windows")
        index = index.to(device)
        index = index % self._length
        series, cutoff = self._locate(index if self._chosen is None else self._chosen[index])
        context, context_mask = self._gather.rows(series, cutoff - self.context_length, self.context_length, cutoff)
        target, target_mask = self._gather.rows(series, cutoff, self.prediction_length, cutoff + self.prediction_length)
        return {
            "context": context,
            "context_mask": context_mask,
            "target": target,
            "target_mask": target_mask,
            "series": series,
            "cutoff": cutoff,
            "mean": self._gather.mean[series],
            "std": self._gather.std[series],
            "floor": self._gather.floor.expand(len(series), -1),
            **self._gather.covariates(series, cutoff, self.context_length, self.prediction_length),
        }

    def windows(self) -> tuple[Tensor, Tensor]:
        """Series and cutoff of every window, in the dataset's order: int64 [N], int64 [N]."""
        return self._locate(self._indices())

    def to(self, device: torch.device | str) -> "WindowDataset":
        """Move the series to `device`, in place; batches are then gathered there."""
        self._gather.to(device)
        for name in ("_first", "_last", "_ends", "_chosen"):
            value = getattr(self, name)
            setattr(self, name, None if value is None else value.to(device))
        return self

    def _used(self, counts: np.ndarray) -> np.ndarray:
        """Whether each series has a window: bool [S]."""
        if self._chosen is None:
            return counts > 0
        used = np.zeros(len(counts), dtype=bool)
        for part in self._chosen.split(1 << 20):
            used[self._locate(part)[0].numpy()] = True
        return used

    def _indices(self) -> Tensor:
        return torch.arange(self._length, device=self._ends.device) if self._chosen is None else self._chosen

    def _locate(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Series and cutoff of the candidates numbered `index`, computed rather than stored."""
        series = torch.searchsorted(self._ends, index, right=True)
        begin = torch.where(series > 0, self._ends[(series - 1).clamp(min=0)], 0)
        cutoff = torch.minimum(self._first[series] + (index - begin) * self.stride, self._last[series])
        return series, cutoff


def last_windows(
    table: SeriesTable,
    scaler: Scaler,
    context_length: int,
    prediction_length: int | None = None,
    *,
    series: Sequence[int] | Tensor | None = None,
    device: torch.device | str = "cpu",
) -> Batch:
    """The context at the end of every series, to predict beyond it: a batch as from `WindowDataset`, without targets.

    Args:
        prediction_length: H, needed where the table has known covariates: `known` then reaches H rows beyond the end.
        series: which series, by number; None: all of them. Hand over slices of a large table, one batch at a time.

    Raises:
        ValueError: a known covariate of a future row is missing; names the series and the stamp.
    """
    chosen = torch.arange(len(table)) if series is None else torch.as_tensor(series, dtype=torch.int64)
    future = None
    if table.covariates is not None and prediction_length is not None and len(chosen):
        future = table.future_timestamps(chosen.numpy(), prediction_length)
    gather = _Gather(table, scaler, None if future is None else future.max())
    cutoff = gather.length[chosen]
    context, mask = gather.rows(chosen, cutoff - context_length, context_length, cutoff)
    beyond = {}
    if future is not None and gather.beside is not None:
        lacking = gather.beside.missing(chosen, cutoff, prediction_length)
        if lacking is not None:
            raise ValueError(_missing_future(table, int(chosen[lacking[0]]), future[lacking[0]], *lacking[1:]))
        stamps = torch.from_numpy(future.view(np.int64))
        beyond = gather.covariates(chosen, cutoff, context_length, prediction_length, stamps)
    elif gather.beside is not None and len(chosen):
        raise ValueError("the table has covariates: last_windows needs prediction_length")
    batch = {
        "context": context,
        "context_mask": mask,
        "series": chosen,
        "cutoff": cutoff,
        "mean": gather.mean[chosen],
        "std": gather.std[chosen],
        "floor": gather.floor.expand(len(chosen), -1),
        **beyond,
    }
    return {name: x.to(device) for name, x in batch.items()}


class _Gather:
    """The flat arrays as tensors, sharing memory with the table, and how rows are cut from them."""

    def __init__(self, table: SeriesTable, scaler: Scaler, last: np.datetime64 | None = None) -> None:
        self.values = torch.from_numpy(np.ascontiguousarray(table.values))
        self.begin = torch.from_numpy(table.offsets[:-1])
        self.length = torch.from_numpy(table.lengths)
        self.mean, self.std, self.floor = map(torch.from_numpy, (scaler.mean, scaler.std, scaler.floor))
        self.beside: CovariateRows | None = None
        if table.covariates is not None:
            if scaler.covariates is None:
                raise ValueError("the table has covariates, and the scaler was fitted without; fit it on this table")
            self.beside = CovariateRows(table, scaler.covariates, last)

    def covariates(self, *where: Any) -> Batch:
        """The covariates of windows, as `CovariateRows.windows`; empty where the table has none."""
        return {} if self.beside is None else self.beside.windows(*where)

    def rows(self, series: Tensor, start: Tensor, count: int, end: Tensor) -> tuple[Tensor, Tensor]:
        """Rows [start, start + count) of each series, scaled, and which of them are observed: [B, count, C] twice.

        Rows before a series' first or from `end` on are padding: 0, not observed.
        """
        row = start[:, None] + torch.arange(count, device=start.device)
        inside = (row >= 0) & (row < torch.minimum(end, self.length[series])[:, None])
        flat = self.begin[series][:, None] + torch.where(inside, row, 0)
        raw = self.values[flat]
        mask = inside[..., None] & ~torch.isnan(raw)
        scaled = (raw - self.mean[series][:, None]) / self.std[series][:, None]
        return torch.where(mask, scaled, 0.0), mask

    def to(self, device: torch.device | str) -> "_Gather":
        for name in ("values", "begin", "length", "mean", "std", "floor"):
            setattr(self, name, getattr(self, name).to(device))
        if self.beside is not None:
            self.beside.to(device)
        return self


def _missing_future(table: SeriesTable, series: int, future: np.ndarray, step: int, column: str) -> str:
    name = f" of series {table.item_ids[series]!r}" if table.item_ids is not None else ""
    stamp, source = table.ds(future[step : step + 1])[0], table.report.get("source", "the table")
    return (
        f"{source}: the known covariate {column!r}{name} is missing at {stamp}, step {step + 1} of {len(future)}; "
        "add that row to the future table (future_path, or the frame of future rows), or to the end of this one "
        "without a target"
    )


def _cutoffs(
    lengths: np.ndarray, borders: np.ndarray, part: Part, context_length: int, prediction_length: int
) -> tuple[np.ndarray, np.ndarray]:
    """First and last cutoff of every series: int64 [S] twice; last < first where it has none."""
    train_end, val_end = borders[:, 0], borders[:, 1]
    if part != "train":
        begin, end = (train_end, val_end) if part == "val" else (val_end, lengths)
        # A context needs at least one row before it.
        return np.maximum(begin, 1), end - prediction_length
    last = train_end - prediction_length
    # Full contexts only, where there are any. A shorter series starts with a context as long as the horizon, or shorter
    # still where it must, so that its windows do not consist of padding.
    return np.where(last >= context_length, context_length, np.clip(last, 1, prediction_length)), last


def _usable(table, locate, candidates: int, context_length: int, prediction_length: int, part: Part) -> np.ndarray:
    """Whether each candidate window has an observed target, and in training an observed context too: bool [N]."""
    rows = len(table.values)
    observed = np.empty(rows, dtype=bool)
    for begin in range(0, rows, 1 << 20):  # in pieces: the values may lie on disk
        observed[begin : begin + (1 << 20)] = ~np.isnan(table.values[begin : begin + (1 << 20)]).all(axis=1)
    if observed.all():
        return np.ones(candidates, dtype=bool)
    seen = np.zeros(rows + 1, dtype=np.int32 if rows < 1 << 31 else np.int64)
    np.cumsum(observed, out=seen[1:])
    usable = np.empty(candidates, dtype=bool)
    for begin in range(0, candidates, 1 << 20):  # in pieces: the table may have many more windows than memory for them
        index = torch.arange(begin, min(begin + (1 << 20), candidates))
        series, cutoff = (x.numpy() for x in locate(index))
        row = table.offsets[series] + cutoff
        ok = seen[row + prediction_length] > seen[row]
        if part == "train":
            ok &= seen[row] > seen[np.maximum(row - context_length, table.offsets[series])]
        usable[begin : begin + len(index)] = ok
    return usable


def _why_empty(table: SeriesTable, borders: np.ndarray, part: Part, horizon: int, candidates: int) -> str:
    if candidates:
        return f"no {part} window holds an observed value; see the missing shares per column in the data summary"
    longest = int(table.lengths.max())
    if horizon >= longest:
        return (
            f"the horizon is longer than the data: prediction_length {horizon}, longest series {longest} rows; "
            "lower prediction_length or bring more rows"
        )
    ends = np.column_stack([np.zeros_like(borders[:, :1]), borders, table.lengths[:, None]])
    which = ("train", "val", "test").index(part)
    rows = int((ends[:, which + 1] - ends[:, which]).max())
    needed = horizon + 1 if part == "train" else horizon
    lever = "lower val_fraction or test_fraction" if part == "train" else f"raise {part}_fraction"
    return (
        f"every series is shorter than one window: the longest has {longest} rows, {rows} of them in the {part} part, "
        f"which needs {needed} for prediction_length {horizon}; lower prediction_length, {lever}, or "
        "bring more rows"
    )
