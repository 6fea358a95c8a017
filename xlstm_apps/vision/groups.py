"""Parameters as an optimizer takes them: with and without weight decay, deeper layers learning faster."""

from __future__ import annotations

import re
from typing import Any

from xlstm_apps.vision.model import VisionLSTM


def layer_of(name: str, num_blocks: int, blocks_per_layer: int = 1) -> int:
    """Layer of a parameter: 0 for patches and positions, then the blocks, then everything behind them."""
    block = re.match(r"blocks\.(\d+)\.", name)
    if block:
        return 1 + int(block[1]) // blocks_per_layer
    return 0 if name.startswith(("patch_embed.", "positions.")) else 1 + -(-num_blocks // blocks_per_layer)


def parameter_groups(
    model: VisionLSTM,
    *,
    learning_rate: float,
    weight_decay: float = 0.05,
    layer_decay: float = 1.0,
    blocks_per_layer: int = 1,
) -> list[dict[str, Any]]:
    """Groups for an optimizer of torch; every trainable parameter is in exactly one.

    Args:
        model: The model.
        learning_rate: That of the head.
        weight_decay: For weights; biases, norms and what `no_weight_decay` names have none.
        layer_decay: Factor on the learning rate from layer to layer towards the image (Clark et al. 2020, "ELECTRA").
        blocks_per_layer: Blocks that count as one layer; 2 for the published fine-tuning of Vision-LSTM, whose blocks
            come in pairs.

    Returns:
        Dictionaries with `params`, `lr`, `weight_decay`, `lr_scale` and `name`.
    """
    if not 0 < layer_decay <= 1:
        raise ValueError(f"layer_decay={layer_decay} must lie in (0, 1]")
    if blocks_per_layer < 1:
        raise ValueError(f"blocks_per_layer={blocks_per_layer} must be at least 1")
    depth, free = len(model.blocks), model.no_weight_decay()
    last = layer_of("head.", depth, blocks_per_layer)
    groups: dict[str, dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        layer = layer_of(name, depth, blocks_per_layer)
        decays = parameter.dim() > 1 and name not in free
        key = f"layer {layer}, {'weights' if decays else 'no weight decay'}"
        scale = layer_decay ** (last - layer)
        settings = {"lr": learning_rate * scale, "lr_scale": scale, "weight_decay": weight_decay if decays else 0.0}
        groups.setdefault(key, {"params": [], "name": key, **settings})["params"].append(parameter)
    return list(groups.values())
