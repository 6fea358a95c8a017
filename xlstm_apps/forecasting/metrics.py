"""Errors of a forecaster over a whole data set, accumulated batch by batch.

Shapes: B windows, H horizon, C channels, Q levels, S series.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor


class Scores:
    """Sums from which every metric follows, in the units given; missing targets count nowhere.

    Args:
        levels: Quantile levels, 0.5 among them.
        horizon: H.
        scale: Mean absolute seasonal difference on the training part, [S, C]; NaN or 0 where there is none.
    """

    def __init__(self, levels: list[float], horizon: int, scale: np.ndarray):
        self.levels, self.horizon, self.scale = levels, horizon, np.asarray(scale, dtype=np.float64)
        self.by_series = np.zeros((3, self.scale.size))  # absolute error, squared error, count
        self.by_step = np.zeros((3, horizon))
        self.pinball = np.zeros(len(levels))
        self.below = np.zeros(len(levels))
        self.covered = 0.0
        self.magnitude = 0.0
        self.windows = 0

    def update(self, forecast: Tensor, target: Tensor, mask: Tensor, series: Tensor) -> None:
        """Add a batch: forecast [B, H, C, Q], target and mask [B, H, C], series [B] (row numbers of `scale`)."""
        channels = target.shape[2]
        forecast, target = forecast.double(), target.double()
        counted = mask.double()
        error = torch.where(mask, target - forecast[..., self.levels.index(0.5)], 0)
        sums = torch.stack([error.abs(), error.square(), counted])  # [3, B, H, C]
        self.by_step += sums.sum((1, 3)).cpu().numpy()
        owner = (series.cpu().numpy()[:, None] * channels + np.arange(channels)).ravel()
        per_row = sums.sum(2).flatten(1).cpu().numpy()  # [3, B * C]
        for kind in range(3):
            self.by_series[kind] += np.bincount(owner, per_row[kind], minlength=self.by_series.shape[1])
        level = torch.tensor(self.levels, dtype=torch.float64, device=target.device)
        gap = torch.where(mask[..., None], target[..., None] - forecast, 0)
        self.pinball += torch.maximum(level * gap, (level - 1) * gap).sum((0, 1, 2)).cpu().numpy()
        self.below += ((gap <= 0) & mask[..., None]).sum((0, 1, 2)).cpu().numpy()
        self.covered += float(((gap[..., 0] >= 0) & (gap[..., -1] <= 0) & mask).sum())
        self.magnitude += float(torch.where(mask, target.abs(), 0).sum())
        self.windows += len(target)

    @property
    def count(self) -> int:
        """Targets scored."""
        return int(self.by_step[2].sum())

    def summary(self) -> dict[str, float]:
        """mae, rmse, mase (mean over series of MAE / scale), weighted quantile loss, coverage of the outermost pair."""
        absolute, squared, count = self.by_step.sum(1)
        nan = float("nan")
        if count == 0:
            return {"mae": nan, "rmse": nan, "mase": nan, "wql": nan, "coverage": nan}
        mase = self._mase()
        mase = mase[np.isfinite(mase)]
        return {
            "mae": absolute / count,
            "rmse": (squared / count) ** 0.5,
            "mase": float(mase.mean()) if mase.size else nan,
            "wql": 2 * float(self.pinball.mean()) / self.magnitude if self.magnitude > 0 else nan,
            "coverage": self.covered / count if len(self.levels) > 1 else nan,
        }

    def horizon_rows(self, model: str) -> list[dict[str, Any]]:
        """Error of every step ahead."""
        absolute, squared, count = self.by_step
        with np.errstate(invalid="ignore", divide="ignore"):
            mae, rmse = absolute / count, np.sqrt(squared / count)
        return [
            {"model": model, "step": h + 1, "mae": mae[h], "rmse": rmse[h]} for h in range(self.horizon) if count[h] > 0
        ]

    def series_rows(self, model: str, names: list[str]) -> list[dict[str, Any]]:
        """Error of every series and channel that was scored; `names` in the order of `scale`, flattened."""
        absolute, squared, count = self.by_series
        with np.errstate(invalid="ignore", divide="ignore"):
            mae, rmse, mase = absolute / count, np.sqrt(squared / count), self._mase()
        return [
            {"unique_id": name, "model": model, "mae": mae[i], "rmse": rmse[i], "mase": _finite(mase[i])}
            for i, name in enumerate(names)
            if count[i] > 0
        ]

    def calibration_rows(self) -> list[dict[str, float]]:
        """Share of targets at or below each quantile."""
        return [
            {"quantile": level, "empirical": below / max(self.count, 1)}
            for level, below in zip(self.levels, self.below, strict=True)
        ]

    def _mase(self) -> np.ndarray:
        absolute, _, count = self.by_series
        scale = self.scale.ravel()
        good = (count > 0) & (scale > 0)
        return np.divide(absolute, count * scale, out=np.full(len(scale), np.nan), where=good)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
