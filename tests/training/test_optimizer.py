"""What the optimizer of a fit is made of."""

import pytest
import torch

from xlstm_apps.training.config import FitConfig
from xlstm_apps.training.run import adamw


@pytest.mark.parametrize(("precision", "fused"), [("32-true", True), ("bf16-mixed", True), ("16-mixed", False)])
def test_one_call_for_all_weights_unless_gradients_are_scaled(precision, fused):
    optimizer = adamw(torch.nn.Linear(2, 2), FitConfig(precision=precision), 10)["optimizer"]
    assert optimizer.defaults["fused"] is fused
