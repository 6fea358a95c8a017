"""Covariates of windows: cut from the flat arrays by index, scaled and coded on the way."""

import numpy as np
import torch
from torch import Tensor

from .calendar import Calendar
from .covariates import Columns
from .encoding import CovariateEncoding, Scale
from .table import SeriesTable

__all__ = ["CovariateRows"]


class CovariateRows:
    """The covariates of a table as tensors that share its memory, and how windows are cut from them.

    Args:
        table: with covariates.
        encoding: scales and vocabularies, in the table's order.
        last: the last stamp to be asked for, where it lies beyond the table (datetime64[us]).
    """

    def __init__(self, table: SeriesTable, encoding: CovariateEncoding, last: np.datetime64 | None = None) -> None:
        raw = table.covariates
        assert raw is not None
        self.begin, self.length = torch.from_numpy(table.offsets[:-1]), torch.from_numpy(table.lengths)
        self.known_begin = torch.from_numpy(raw.known_offsets[:-1])
        self.known_length = torch.from_numpy(raw.known_lengths)
        self.past = _Coder(raw.past, encoding.past, encoding.past_levels)
        self.known = _Coder(raw.known, encoding.known, encoding.known_levels)
        self.static = _Coder(raw.static, encoding.static, encoding.static_levels)
        self.calendar: Calendar | None = None
        if encoding.calendar:
            first = table.timestamps[table.offsets[:-1]].min()
            end = table.timestamps[table.offsets[1:] - 1].max()
            self.calendar = Calendar(table.freq, table.time_zone, first, end if last is None else max(end, last))
            self.stamps = torch.from_numpy(np.ascontiguousarray(table.timestamps).view(np.int64))

    def windows(
        self, series: Tensor, cutoff: Tensor, context_length: int, prediction_length: int, future: Tensor | None = None
    ) -> dict[str, Tensor]:
        """`past` [B, L, P], `past_mask`, `known` [B, L + H, F], `known_codes` [B, L + H, Fc] int64, `static` [B, G] and
        `static_codes` [B, Gc] int64, those of them that the table has. Rows before a series' first are 0.

        Args:
            series, cutoff: int64 [B]; the cutoff is the row of the first target.
            future: stamps int64 [B, H] from the cutoff on, where they lie beyond the series.
        """
        out: dict[str, Tensor] = {}
        back = cutoff[:, None] + torch.arange(-context_length, 0, device=cutoff.device)
        if self.past.width:
            inside = back >= 0
            raw = self.past.values[self.begin[series][:, None] + back.clamp(min=0)]
            number, codes = self.past.encode(raw, series, inside)
            out["past"] = torch.cat([number, self.past.one_hot(codes)], dim=-1)
            seen = inside[..., None] & ~torch.isnan(raw)
            spread = self.past.spread(seen[..., self.past.categories])
            out["past_mask"] = torch.cat([seen[..., self.past.numeric], spread], dim=-1)
        if self.known.width or self.calendar is not None:
            row = cutoff[:, None] + torch.arange(-context_length, prediction_length, device=cutoff.device)
            inside = row >= 0
            number, codes = self.known.encode(self._known(series, row), series, inside)
            if self.calendar is not None:
                clock = self.calendar.features(self._stamps(series, row, future))
                number = torch.cat([number, torch.where(inside[..., None], clock, 0.0)], dim=-1)
            if number.shape[-1]:
                out["known"] = number
            if codes.shape[-1]:
                out["known_codes"] = codes
        if self.static.width:
            number, codes = self.static.encode(self.static.values[series], torch.zeros_like(series))
            if number.shape[-1]:
                out["static"] = number
            if codes.shape[-1]:
                out["static_codes"] = codes
        return out

    def missing(self, series: Tensor, cutoff: Tensor, prediction_length: int) -> tuple[int, int, str] | None:
        """The first future row without a known covariate: place in the batch, step from 0, and the covariate's name."""
        if not self.known.width:
            return None
        row = cutoff[:, None] + torch.arange(prediction_length, device=cutoff.device)
        bad = torch.isnan(self._known(series, row)).nonzero()
        return (int(bad[0, 0]), int(bad[0, 1]), self.known.names[int(bad[0, 2])]) if len(bad) else None

    def to(self, device: torch.device | str) -> "CovariateRows":
        for name, value in vars(self).items():
            if hasattr(value, "to"):
                setattr(self, name, value.to(device))
        return self

    def _known(self, series: Tensor, row: Tensor) -> Tensor:
        """Raw known covariates [B, R, F]; NaN where there is no row."""
        there = (row >= 0) & (row < self.known_length[series][:, None])
        raw = self.known.values[self.known_begin[series][:, None] + torch.where(there, row, 0)]
        return torch.where(there[..., None], raw, torch.nan)

    def _stamps(self, series: Tensor, row: Tensor, future: Tensor | None) -> Tensor:
        last = self.length[series][:, None] - 1
        stamps = self.stamps[self.begin[series][:, None] + torch.minimum(row.clamp(min=0), last)]
        if future is not None:
            stamps[:, row.shape[1] - future.shape[1] :] = future
        return stamps


class _Coder:
    """Columns of one role, with what scales the numbers and codes the categories."""

    def __init__(self, columns: Columns, scale: Scale, levels: dict[str, list[str]]) -> None:
        order = {name: i for i, name in enumerate(columns.names)}
        self.names = columns.names
        self.width = len(columns.names)
        self.values = torch.from_numpy(np.ascontiguousarray(columns.values))
        self.numeric = torch.tensor([order[name] for name in scale.names], dtype=torch.int64)
        self.categories = torch.tensor([order[name] for name in levels], dtype=torch.int64)
        self.mean, self.std = torch.from_numpy(scale.mean), torch.from_numpy(scale.std)
        counts = [len(vocabulary) for vocabulary in levels.values()]
        self.category_of = torch.tensor([i for i, count in enumerate(counts) for _ in range(count)], dtype=torch.int64)
        self.code_of = torch.tensor([code for count in counts for code in range(1, count + 1)], dtype=torch.int64)
        # All columns' tables one after the other: the code of each level of the table, and 0 for NaN at the end.
        codes = []
        for name, vocabulary in levels.items():
            known = {value: i + 1 for i, value in enumerate(vocabulary)}
            codes.append([*(known.get(value, 0) for value in columns.levels[name]), 0])
        lengths = [len(c) for c in codes]
        self.codes = torch.tensor([c for column in codes for c in column], dtype=torch.int64)
        self.code_begin = torch.tensor([sum(lengths[:i]) for i in range(len(lengths))], dtype=torch.int64)
        self.code_none = torch.tensor(lengths, dtype=torch.int64) - 1

    def encode(self, raw: Tensor, series: Tensor, inside: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Scaled numbers float32 [..., K], 0 where missing, and codes int64 [..., Kc], 0 where missing or unseen."""
        middle = (len(raw.shape) - 2) * (1,)
        mean, std = (x[series].view(len(series), *middle, -1) for x in (self.mean, self.std))
        number = ((raw[..., self.numeric] - mean) / std).nan_to_num(0.0)
        place = torch.where(torch.isnan(raw[..., self.categories]), self.code_none, raw[..., self.categories])
        codes = place.to(torch.int64)
        if codes.shape[-1]:
            codes = self.codes[self.code_begin + codes]
        if inside is not None:
            number, codes = number * inside[..., None], codes * inside[..., None]
        return number, codes

    def one_hot(self, codes: Tensor) -> Tensor:
        """A column of 0 and 1 per value of each category: float32 [..., sum of values]; none is 1 for code 0."""
        return (codes[..., self.category_of] == self.code_of).to(torch.float32)

    def spread(self, mask: Tensor) -> Tensor:
        """A mask per category [..., Kc] repeated for each of its values, as `one_hot` lays them out."""
        return mask[..., self.category_of]

    def to(self, device: torch.device | str) -> "_Coder":
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value.to(device))
        return self
