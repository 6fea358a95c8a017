"""What the optimizer of a fit is made of."""

import lightning.pytorch as pl
import pytest
import torch

from xlstm_apps.training import BatchLoader, FitConfig, fit
from xlstm_apps.training.run import adamw


@pytest.mark.parametrize(("precision", "fused"), [("32-true", True), ("bf16-mixed", True), ("16-mixed", False)])
def test_one_call_for_all_weights_unless_gradients_are_scaled(precision, fused):
    optimizer = adamw(torch.nn.Linear(2, 2), FitConfig(precision=precision), 10)["optimizer"]
    assert optimizer.defaults["fused"] is fused


class Line(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        return (self.layer(batch) - 3).square().mean()


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_gradients_are_clipped_whatever_the_precision(precision):
    batches = BatchLoader(list(torch.ones(4, 1)), 2, shuffle=True)  # type: ignore[arg-type]
    config = FitConfig(max_epochs=2, precision=precision, accelerator="cpu", gradient_clip=0.1, patience=None)
    assert fit(Line(), batches, None, config).steps == 4
