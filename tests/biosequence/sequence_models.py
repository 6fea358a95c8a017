"""Small sequence models of every kind, with no parameter at a special value."""

import torch

from xlstm_apps.biosequence.config import SequenceConfig
from xlstm_apps.biosequence.model import SequenceModel
from xlstm_apps.core import xLSTMConfig

STACKS = {"mlstm": (), "slstm": "all", "mixed": (1,)}


def layers(stack: str = "mixed", **options) -> xLSTMConfig:
    return xLSTMConfig(
        **{
            "embedding_dim": 24,
            "num_blocks": 2,
            "num_heads": 2,
            "proj_round_to": 8,
            "slstm_at": STACKS[stack],
            **options,
        }
    )


def make(config: SequenceConfig, backbone: xLSTMConfig) -> SequenceModel:
    model = SequenceModel(config, backbone).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return model.eval()


def causal(stack: str = "mixed", **options) -> SequenceModel:
    return make(SequenceConfig(**options), layers(stack))


def masked(stack: str = "mixed", direction: str = "bidirectional", heads: int = 2, **options) -> SequenceModel:
    return make(SequenceConfig(objective="masked", **options), layers(stack, direction=direction, num_heads=heads))


def bases(*shape: int) -> torch.Tensor:
    return torch.randint(7, 12, shape)
