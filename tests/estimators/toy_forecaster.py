"""A forecaster that needs no training, and tables for it."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import torch
from torch import nn

from xlstm_apps.datasets import Scaler, split_points, table_from_frame

HORIZON, CONTEXT = 4, 6


class LastValue(nn.Module):
    """Repeats the last value, and thinks it knows how far off that is."""

    levels, median = [0.1, 0.5, 0.9], 1

    def __init__(self, spread: float = 0.2):
        super().__init__()
        self.spread = nn.Parameter(torch.tensor(spread))
        self.head = SimpleNamespace(
            context_length=CONTEXT, prediction_length=HORIZON, quantiles=[0.1, 0.9], minimum="auto"
        )

    def forward(self, batch):
        last = batch["context"][:, -1:, :, None].expand(-1, HORIZON, -1, -1)
        return last + self.spread * torch.tensor([-1.0, 0.0, 1.0])


def walks(lengths=(200,), *, channels: int = 1, seed: int = 0, starts: list[int] | None = None) -> pl.DataFrame:
    rng, frames = np.random.default_rng(seed), []
    for i, rows in enumerate(lengths):
        first = np.datetime64("2024-01-01") + (0 if starts is None else starts[i])
        columns = {f"y{c}": rng.normal(0, 1 + c, rows).cumsum() for c in range(channels)}
        ids = [f"s{i}"] * rows
        frames.append(pl.DataFrame({"unique_id": ids, "ds": first + np.arange(rows), **columns}))
    return pl.concat(frames)


def made(frame: pl.DataFrame, val: float = 0.3, test: float = 0.4):
    table = table_from_frame(frame, freq="1d", target_columns=[c for c in frame.columns if c.startswith("y")])
    split = split_points(table, val, test, min_length=HORIZON)
    return table, Scaler.fit(table, [a for a, _ in split]), split
