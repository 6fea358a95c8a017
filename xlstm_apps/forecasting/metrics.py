"""Errors of a forecaster over a whole data set, accumulated batch by batch on the device of the batches.

Shapes: B windows, H horizon, C channels, Q levels, S series.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

INTERVALS = {"coverage_80": (0.1, 0.9), "coverage_95": (0.025, 0.975)}
COVERED = sorted({level for pair in INTERVALS.values() for level in pair})
"""Levels that the coverage of 80 and 95 % is read from."""


class Scores:
    """Sums from which every metric follows, in the units given; missing targets count nowhere.

    Args:
        levels: Levels of the forecasts to come, ascending, 0.5 among them.
        horizon: H.
        scale: Mean absolute seasonal difference on the training part, [S, C]; NaN or 0 where there is none.
        reported: Those of `levels` that the quantile loss and the rows by quantile are of; None: all.
    """

    def __init__(self, levels: list[float], horizon: int, scale: np.ndarray, reported: list[float] | None = None):
        self.levels, self.horizon, self.scale = levels, horizon, np.asarray(scale, dtype=np.float64)
        self.reported = levels if reported is None else reported
        self.windows = 0
        # Absolute error, squared error, sMAPE, count; by series and channel, by step.
        self._by_series, self._by_step = torch.zeros(3, self.scale.size), torch.zeros(3, horizon)
        self._smape = self._magnitude = torch.zeros(())
        self._pinball, self._below, self._equal = torch.zeros(3, len(levels))
        pairs = {name: pair for name, pair in INTERVALS.items() if set(pair) <= set(levels)}
        self._pairs = {"coverage": (self.reported[0], self.reported[-1]), **pairs}
        self._covered = torch.zeros(len(self._pairs))

    def update(self, forecast: Tensor, target: Tensor, mask: Tensor, series: Tensor) -> None:
        """Add a batch: forecast [B, H, C, Q], target and mask [B, H, C], series [B] (row numbers of `scale`)."""
        if self.windows == 0:  # the sums live where the batches do
            for name in ("_by_series", "_by_step", "_smape", "_magnitude", "_pinball", "_below", "_equal", "_covered"):
                setattr(self, name, getattr(self, name).to(target.device, torch.float64))
        channels = target.shape[2]
        point = forecast[..., self.levels.index(0.5)]
        error = torch.where(mask, target - point, 0)
        sums = torch.stack([error.abs(), error.square(), mask.to(error)]).double()  # [3, B, H, C]
        self._by_step += sums.sum((1, 3))
        owner = series.to(target.device)[:, None] * channels + torch.arange(channels, device=target.device)
        self._by_series.index_add_(1, owner.flatten(), sums.sum(2).flatten(1))
        total = (target.abs() + point.abs()).clamp(min=1e-12)
        self._smape += torch.where(mask, 200 * error.abs() / total, 0).sum(dtype=torch.float64)
        self._magnitude += torch.where(mask, target.abs(), 0).sum(dtype=torch.float64)
        at_least: dict[float, Tensor] = {}  # whether the target lies at or above a quantile
        for i, level in enumerate(self.levels):  # one level at a time keeps the memory of one forecast
            gap = torch.where(mask, target - forecast[..., i], 0)
            self._pinball[i] += torch.maximum(level * gap, (level - 1) * gap).sum(dtype=torch.float64)
            self._below[i] += ((gap < 0) & mask).sum()
            self._equal[i] += ((gap == 0) & mask).sum()
            at_least[level] = gap >= 0
            at_least[-level] = gap <= 0
        for i, (low, high) in enumerate(self._pairs.values()):
            self._covered[i] += (at_least[low] & at_least[-high] & mask).sum()
        self.windows += len(target)

    @property
    def count(self) -> int:
        """Targets scored."""
        return int(self._by_step[2].sum())

    def summary(self) -> dict[str, float]:
        """mae, rmse, mse, mase (mean over series of MAE / scale), smape (percent, as in M4), weighted quantile loss,
        coverage of the outermost reported pair, and of 80 and 95 % where these levels are known (else NaN)."""
        absolute, squared, count = self._by_step.sum(1).tolist()
        nan, many = float("nan"), len(self.reported) > 1
        names = ["mae", "rmse", "mse", "mase", "smape", "wql", "coverage", *INTERVALS]
        if count == 0:
            return dict.fromkeys(names, nan)
        mase = self._mase()
        mase = mase[np.isfinite(mase)]
        covered = dict(zip(self._pairs, (self._covered / count).tolist(), strict=True))
        loss = np.mean([float(self._pinball[self.levels.index(q)]) for q in self.reported])
        return {
            "mae": absolute / count,
            "rmse": (squared / count) ** 0.5,
            "mse": squared / count,
            "mase": float(mase.mean()) if mase.size else nan,
            "smape": float(self._smape) / count,
            "wql": 2 * float(loss / self._magnitude) if self._magnitude > 0 else nan,
            "coverage": covered["coverage"] if many else nan,
            **{name: covered.get(name, nan) for name in INTERVALS},
        }

    def horizon_rows(self, model: str) -> list[dict[str, Any]]:
        """Error of every step ahead."""
        absolute, squared, count = self._by_step.cpu().numpy()
        with np.errstate(invalid="ignore", divide="ignore"):
            mae, rmse = absolute / count, np.sqrt(squared / count)
        return [
            {"model": model, "step": h + 1, "mae": mae[h], "rmse": rmse[h]} for h in range(self.horizon) if count[h] > 0
        ]

    def series_rows(self, model: str, names: list[str]) -> list[dict[str, Any]]:
        """Error of every series and channel that was scored; `names` in the order of `scale`, flattened."""
        absolute, squared, count = self._by_series.cpu().numpy()
        with np.errstate(invalid="ignore", divide="ignore"):
            mae, rmse, mase = absolute / count, np.sqrt(squared / count), self._mase()
        return [
            {"unique_id": name, "model": model, "mae": mae[i], "rmse": rmse[i], "mase": _finite(mase[i])}
            for i, name in enumerate(names)
            if count[i] > 0
        ]

    def calibration_rows(self) -> list[dict[str, float]]:
        """Share of targets below each reported quantile.

        Targets equal to it count as below as far as its level asks for: where half of the sales are 0, a quantile of 0
        is right at any level up to one half.
        """
        below, equal = ((x / max(self.count, 1)).tolist() for x in (self._below, self._equal))
        rows = [(level, self.levels.index(level)) for level in self.reported]
        return [{"quantile": q, "empirical": min(max(q, below[i]), below[i] + equal[i])} for q, i in rows]

    def _mase(self) -> np.ndarray:
        absolute, _, count = self._by_series.cpu().numpy()
        scale = self.scale.ravel()
        good = (count > 0) & (scale > 0)
        return np.divide(absolute, count * scale, out=np.full(len(scale), np.nan), where=good)


def owa(summary: dict[str, float], naive2: dict[str, float]) -> float:
    """Overall weighted average of M4 (Makridakis et al. 2020): mean of sMAPE and MASE, each over that of Naive2."""
    return (summary["smape"] / naive2["smape"] + summary["mase"] / naive2["mase"]) / 2


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
