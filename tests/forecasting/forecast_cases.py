"""Small forecasters and batches for the tests of this folder."""

import torch

from xlstm_apps.core import xLSTMConfig
from xlstm_apps.forecasting import CovariateSizes, ForecastConfig, ForecastModel, with_preset
from xlstm_apps.forecasting.members import MEMBERS

BACKBONE = xLSTMConfig(embedding_dim=8, num_blocks=1, num_heads=2, slstm_at="all", conv1d_kernel_size=0)
NAMES = list(MEMBERS)
CONTEXT, HORIZON, CHANNELS = 20, 5, 3


def make_model(
    context: int = CONTEXT, horizon: int = HORIZON, covariates: CovariateSizes | None = None, **options
) -> ForecastModel:
    head = ForecastConfig(prediction_length=horizon, context_length=context, **options)
    head, backbone, _ = with_preset(head, BACKBONE)
    return ForecastModel(head.resolve(context_length=context, season=1), backbone, covariates).eval()


def shake(model: torch.nn.Module, scale: float = 0.3) -> torch.nn.Module:
    """Random weights everywhere, so that no part of the model is silent because it starts at zero."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0, scale)
    return model


def example(windows: int = 4, length: int = CONTEXT, channels: int = CHANNELS, missing: float = 0.3):
    seen = torch.rand(windows, length, channels) >= missing
    return {"context": torch.randn(windows, length, channels).cumsum(1), "context_mask": seen}


def training_batch(windows: int = 4, channels: int = CHANNELS, context: int = CONTEXT, horizon: int = HORIZON):
    future = example(windows, horizon, channels)
    return example(windows, context, channels) | {"target": future["context"], "target_mask": future["context_mask"]}


SIZES = CovariateSizes(channels=CHANNELS, past=2, known=2, known_codes=[4], static=1, static_codes=[3])


def covariates_of(windows: int = 4, context: int = CONTEXT, horizon: int = HORIZON) -> dict[str, torch.Tensor]:
    return {
        "past": torch.randn(windows, context, 2),
        "past_mask": torch.rand(windows, context, 2) > 0.3,
        "known": torch.randn(windows, context + horizon, 2),
        "known_codes": torch.randint(4, (windows, context + horizon, 1)),
        "static": torch.randn(windows, 1),
        "static_codes": torch.randint(3, (windows, 1)),
    }


def row(batch: dict[str, torch.Tensor], at: slice | list[int]) -> dict[str, torch.Tensor]:
    return {name: x[at] for name, x in batch.items()}
