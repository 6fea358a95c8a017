"""Small frames and budgets for the tests of the estimators."""

import numpy as np
import pandas as pd

QUICK = {
    "prediction_length": 5,
    "context_length": 14,
    "embedding_dim": 8,
    "num_heads": 2,
    "max_steps": 4,
    "batch_size": 8,
}


def long_frame(rows: int = 120, series: int = 3, seed: int = 0) -> pd.DataFrame:
    """Daily series s0, s1, ... with a week in them."""
    rng = np.random.default_rng(seed)
    stamps, parts = pd.date_range("2024-01-01", periods=rows, freq="D"), []
    for i in range(series):
        y = np.sin(np.arange(rows) * 2 * np.pi / 7) * 3 + rng.normal(0, 0.3, rows) + i
        parts.append(pd.DataFrame({"unique_id": f"s{i}", "ds": stamps, "y": y}))
    return pd.concat(parts, ignore_index=True)


def shop_frame(rows: int = 120) -> pd.DataFrame:
    """The same with a price known ahead, a weather known afterwards and a region per series."""
    frame, rng = long_frame(rows), np.random.default_rng(1)
    frame["price"], frame["weather"] = rng.normal(size=len(frame)), rng.normal(size=len(frame))
    frame["region"] = frame["unique_id"].map({"s0": "north", "s1": "south", "s2": "north"})
    frame["y"] += 5 * frame["price"]
    return frame


def future_of(frame: pd.DataFrame, steps: int, price: float = 0.0) -> pd.DataFrame:
    """Prices of the steps after the end of `shop_frame`."""
    stamps = pd.date_range(frame["ds"].max() + pd.Timedelta("1D"), periods=steps, freq="D")
    parts = [pd.DataFrame({"unique_id": name, "ds": stamps, "price": price}) for name in frame["unique_id"].unique()]
    return pd.concat(parts, ignore_index=True)
