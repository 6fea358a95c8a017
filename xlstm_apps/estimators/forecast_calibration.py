"""The calibration of a forecaster on its table: which held-out errors were known when a forecast was made.

Targets of the validation part are held out from the training and known at any later cutoff; a target of the test part
is known at cutoffs after its own stamp, in every series. Forecasts whose horizon begins in the training part count with
those of their targets that lie behind it.
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from xlstm_apps.datasets import Scaler, SeriesTable, WindowDataset
from xlstm_apps.estimators.forecast_frames import ROWS_PER_BATCH, scaled_forecast
from xlstm_apps.forecasting import (
    Calibration,
    ErrorHistory,
    ForecastModel,
    Policy,
    beyond_errors,
    normalised_errors,
    stretch,
)
from xlstm_apps.forecasting.conformal import State, spreads, step_groups, unit_rows

ERRORS_FROM = 100_000
"""Windows times channels whose errors are looked at; more are thinned out."""
MOST_COUNTS = 32_000_000
"""Numbers held at a time: time is cut more coarsely, then the series are taken together, where it would be more."""
TEST_BLOCKS = 96
TYPICAL_WINDOWS, TYPICAL_OF_EACH = 256, 8
"""Windows the typical spread is of."""
PATHS = 256
"""Windows kept whole for sample paths; fewer where they are large."""
MOST_PATH_VALUES = 4_000_000


class Calibrator:
    """Errors of a model on the rows it was not trained on, and what can be said from them at any time.

    Args:
        model: The trained forecaster, on the device where all is computed.
        table: All series.
        scaler: As in training.
        split: (train_end, val_end) of every series.

    Raises:
        ValueError: Nothing is held out; see `calibrator_for`.
    """

    def __init__(
        self,
        model: ForecastModel,
        table: SeriesTable,
        scaler: Scaler,
        split: list[tuple[int, int]],
        policy: Policy | None = None,
    ):
        self.table, self.levels, self.policy = table, model.levels, policy or Policy()
        self.horizon, self.channels = model.head.prediction_length, len(table.channels)
        self.device = next(model.parameters()).device
        train_end, val_end = np.asarray(split, dtype=np.int64).reshape(-1, 2).T
        windows = _windows(table, scaler, train_end, model)
        self.units = len(table) * self.channels
        groups, bins = int(step_groups(self.horizon)[-1]) + 1, 256
        if self.units * groups * bins * 16 > MOST_COUNTS:
            self.units = 1  # so many series that each has little to say of its own
        self.together = self.units < len(table) * self.channels
        most = max(4, min(TEST_BLOCKS, MOST_COUNTS // (self.units * groups * bins)))
        self.clock = Clock(table, train_end, val_end, most, self.device)
        self.history = ErrorHistory(
            self.horizon,
            self.units,
            self.clock.blocks,
            self.levels,
            stride=windows.stride,
            rows_per_block=self.clock.rows_per_block,
            device=self.device,
        )
        self.typical = self._typical(model.eval(), windows, torch.from_numpy(val_end))
        self._tracks: dict[tuple[float, ...], Tensor] = {}
        self._collect(model, windows)

    def quantiles(self, batch: dict[str, Tensor], forecast: Tensor, levels: list[float]) -> Tensor:
        """Quantiles at the cutoffs of a batch of windows, from what was known there.

        Args:
            batch: `series` and `cutoff`, [B] each, of this table.
            forecast: What the model gave for it, scaled, [B, H, C, Q].
            levels: Any levels.

        Returns:
            [B, H, C, len(levels)], scaled.
        """
        track = self._track(tuple(levels))
        series, cutoff = (batch[name].to(forecast.device) for name in ("series", "cutoff"))
        block = self.clock.known_blocks(series, cutoff)
        unit = self._units(series)
        step = self.history.group
        rho = track[block[:, None, None], unit[:, None, :], step[None, :, None]]
        return stretch(forecast, rho, self.levels, self.typical[unit][:, None])

    def beyond(self, levels: Iterable[float]) -> str | None:
        """Says which of these quantiles the held-out errors do not support; None where they support all."""
        return beyond_errors(levels, self.targets // self.horizon)

    def at_end(self) -> Calibration:
        """What can be said after the last row of the table."""
        *_, state = self.history.states(self.policy)
        unit, step = self._units(self._path_series), self.history.group[:, None]
        if self.units == 1:
            state = State(*(x[-1:] for x in state))
        shares = [  # one window at a time: each of its values looks into all bins
            State(*(x[unit[i][None], step] for x in state)).share(self._paths[i, ..., None])[..., 0]
            for i in range(len(unit))
        ]
        return Calibration(
            levels=self.levels,
            state=state,
            typical=self.typical if self.units > 1 else self.typical[-1:],
            channels=self.channels,
            item_ids=self.table.item_ids if self.units > 1 else None,
            paths=torch.where(self._path_mask, torch.stack(shares).clamp(1e-3, 1 - 1e-3), 0.5),
            report={"targets": self.targets, "windows": self.windows},
        )

    def _units(self, series: Tensor) -> Tensor:
        if self.units == 1:
            return torch.zeros(len(series), self.channels, dtype=torch.int64, device=series.device)
        return unit_rows(len(series), series, self.units, self.channels, series.device)

    def _track(self, levels: tuple[float, ...]) -> Tensor:
        if levels not in self._tracks:
            self._tracks[levels] = self.history.track(self.policy, list(levels))
        return self._tracks[levels]

    def _typical(self, model: ForecastModel, windows: WindowDataset, val_end: Tensor) -> Tensor:
        """Geometric mean of the spreads before the test part, [U + 1, 2]; NaN where series are taken together: how they
        differ is what their spreads say."""
        total = torch.zeros(self.units + 1, 3, device=self.device)
        if self.together:
            return torch.full((2, 2), torch.nan, device=self.device)
        series, cutoff = windows.windows()
        early = (cutoff <= val_end[series]).nonzero()[:, 0]  # a spread says what its context held
        most = min(len(early), max(TYPICAL_WINDOWS, TYPICAL_OF_EACH * len(self.table)))
        picked = early[torch.linspace(0, len(early) - 1, most).round().long()] if most else early
        for some in picked.split(max(1, ROWS_PER_BATCH // self.channels)):
            batch = windows.__getitems__(some)
            _, *sides = spreads(scaled_forecast(model, batch), self.levels)
            logs = torch.stack([side.log().mean(1) for side in sides], -1).flatten(0, 1)  # [B * C, 2]
            unit = self._units(batch["series"].to(self.device)).flatten()
            total.index_add_(0, unit, torch.cat([logs, torch.ones_like(logs[:, :1])], 1))
        total[-1] = total.sum(0)
        return (total[:, :2] / total[:, 2:]).exp()  # 0 / 0: a series without an early window

    def _collect(self, model: ForecastModel, windows: WindowDataset) -> None:
        series, cutoff = windows.windows()
        whole = torch.from_numpy(self.clock.train_end)[series] <= cutoff
        chosen = whole.nonzero()[:, 0] if whole.any() else torch.arange(len(series))
        most = max(1, min(PATHS, MOST_PATH_VALUES // (self.horizon * self.channels), len(chosen)))
        picked = chosen[torch.linspace(0, len(chosen) - 1, most).round().long()].tolist()
        size, paths = max(1, ROWS_PER_BATCH // self.channels), []
        for begin in range(0, len(windows), size):
            end = min(begin + size, len(windows))
            batch = {name: x.to(self.device) for name, x in windows.__getitems__(range(begin, end)).items()}
            unit = self._units(batch["series"])
            own, typical = scaled_forecast(model, batch), self.typical[unit][:, None]
            errors = normalised_errors(own, batch["target"], self.levels, typical)
            block = self.clock.target_blocks(batch["series"], batch["cutoff"], self.horizon)
            self.history.add(errors, batch["target_mask"], block, unit)
            here = [i - begin for i in picked if begin <= i < end]
            if here:
                seen = batch["target_mask"] & (block >= 0)[:, :, None]
                paths.append((batch["series"][here], errors[here], seen[here]))
        self._path_series, self._paths, self._path_mask = (torch.cat(x) for x in zip(*paths, strict=True))
        self.windows, self.targets = len(windows), int(self.history.counts.sum())


def calibrator_for(
    model: ForecastModel, table: SeriesTable, scaler: Scaler, split: list[tuple[int, int]]
) -> Calibrator | None:
    """A calibrator, or None where no row is held out: the model then answers with its own quantiles."""
    held_out = table.lengths - np.array([train_end for train_end, _ in split])
    fits = table.lengths > model.head.prediction_length
    if not (fits & (held_out > 0)).any():
        return None
    return Calibrator(model, table, scaler, split)


class Clock:
    """Time cut into blocks: those of the validation part, then those of the test part.

    Args:
        table: All series.
        train_end: [S].
        val_end: [S].
        most: Blocks of the test part, at most.
        device: Where blocks are looked up.
    """

    def __init__(
        self,
        table: SeriesTable,
        train_end: np.ndarray,
        val_end: np.ndarray,
        most: int,
        device: torch.device,
    ):
        self.train_end = train_end
        lengths = table.lengths
        owner = np.repeat(np.arange(len(table)), lengths)
        row = np.arange(len(table.values)) - table.offsets[owner]
        tested = row >= val_end[owner]
        stamps, rank = np.unique(table.timestamps[tested], return_inverse=True)
        validation = int((val_end - train_end).max())
        size = max(1, -(-(len(stamps) or validation) // most))
        # Validation ends at the test's begin in every series, whatever the stamps: it is known at every later cutoff.
        self.test_begin = min(-(-validation // size), most)
        coarse = max(1, -(-validation // max(self.test_begin, 1)))
        block = np.full(len(row), -1, dtype=np.int32)
        held = (row >= train_end[owner]) & ~tested
        block[held] = self.test_begin + (row[held] - val_end[owner[held]]) // coarse
        block[tested] = self.test_begin + rank // size
        self.rows_per_block = size
        self.blocks = max(1, self.test_begin + -(-len(stamps) // size))
        self._block = torch.from_numpy(block).to(device)
        self._offsets = torch.from_numpy(table.offsets).to(device)

    def target_blocks(self, series: Tensor, cutoff: Tensor, horizon: int) -> Tensor:
        """Block of every target, [B, H]; -1 where it lies in the training part."""
        rows = (self._offsets[series] + cutoff)[:, None] + torch.arange(horizon, device=series.device)
        return self._block[rows].long()

    def known_blocks(self, series: Tensor, cutoff: Tensor) -> Tensor:
        """How many blocks are wholly known at each cutoff, [B]."""
        begin, end = self._offsets[series], self._offsets[series + 1]
        inside = self._block[torch.minimum(begin + cutoff, end - 1)].long().clamp(min=0)
        return torch.where(begin + cutoff < end, inside, self.blocks)


def _windows(table: SeriesTable, scaler: Scaler, train_end: np.ndarray, model: ForecastModel) -> WindowDataset:
    horizon, length = model.head.prediction_length, model.head.context_length
    first = np.maximum(train_end - horizon + 1, 1)
    count = int(np.maximum(table.lengths - horizon - first + 1, 0).sum()) * len(table.channels)
    return WindowDataset.after(table, scaler, first, length, horizon, max(1, -(-count // ERRORS_FROM)))
