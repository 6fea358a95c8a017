"""Vision-LSTM (Alkin et al. 2025), versions 1 and 2, in two forms: as trained ("raw": `xlstm.blocks.0.xlstm_norm...`,
`head.0`, `head.1`) and as its torch.hub models name things ("hub").

What the checkpoints hide: blocks of version 2 are stored in pairs; `norm` and `legacy_norm` exchange their meaning
between the versions (behind the blocks or before the head), and so do the numbers added to variances between the raw
and the hub form of version 2; norms store their weight minus one, but the one before the head does not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.interop.weights import Weights, prefixed
from xlstm_apps.interop.xlstm import NORM_EPS, check, mlstm_block, stored_norm

SOURCE, PATCHES = "vision-lstm", "patch_embed.proj.weight"
POOLINGS = {"bilateral_avg": "bilateral_avg", "bilateral_flatten": "bilateral_concat"}
OTHER_EPS = 1e-6
DEFAULTS = {
    "mode": (None, "classifier", "features"),
    "alternation": (None, "bidirectional"),
    "direction": (None,),
}
"""What other options may be: nothing else was published."""


class Form(NamedTuple):
    """Which of the four a checkpoint is."""

    version: int
    raw: bool


def load_vision(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> nn.Module:
    """Vision-LSTM: images [B, C, *size] of any size to class logits, or to pooled features where there is no head."""
    # The module belongs to the task above; only this line looks up there, and the import contract says so.
    from xlstm_apps.vision import VisionConfig, VisionLSTM

    weights, form = plain_names(tensors)
    for name, accepted in DEFAULTS.items():
        if config.get(name) not in accepted:
            raise ValueError(f"{SOURCE}: {name}={config[name]!r} is not supported")
    stated = {"VisionLSTM": 1, "VisionLSTM2": 2}.get(config.get("cls", ""), form.version)
    check({"version": stated}, "version", form.version, weights)
    backbone = _backbone(config, weights, form)
    module = VisionLSTM(VisionConfig(**_vision(config, weights, form)), backbone)
    weights.fill(module, _tensors(backbone, weights))
    return module


def plain_names(tensors: Mapping[str, Tensor]) -> tuple[Weights, Form]:
    """The tensors under one set of names: `blocks.0.xlstm_norm.`, `blocks.0.xlstm.`, `final_norm.`, `head_norm.`,
    `head.`; a convolution over the grid is called `conv`, one over the path `conv1d.conv`."""
    prefix = Weights(tensors, PATCHES, SOURCE).prefix
    names = {key.removeprefix(prefix): key for key in tensors}
    raw = any(name.startswith("xlstm.blocks.") for name in names)
    paired = any(".rowwise_from_" in name for name in names)
    version = 2 if paired or (raw and tensors[names[_convolution(names)]].dim() != 3) else 1
    if raw:
        final, head_norm = "xlstm.post_blocks_norm.", "head.0."
    else:
        final, head_norm = ("legacy_norm.", "norm.") if version == 1 else ("norm.", "legacy_norm.")
    renamed = {}
    for name, key in names.items():
        new = name.removeprefix("xlstm.") if name.startswith("xlstm.blocks.") else name
        new = re.sub(r"^blocks\.(\d+)\.rowwise_from_(top_left|bot_right)\.", _unpaired, new)
        new = re.sub(r"^(blocks\.\d+)\.norm\.", r"\1.xlstm_norm.", new)
        new = re.sub(r"^(blocks\.\d+)\.layer\.", r"\1.xlstm.", new)
        new = re.sub(r"\.xlstm\.conv\.conv\.", ".xlstm.conv1d.conv.", new)
        new = re.sub(r"\.xlstm\.conv1d\.(weight|bias)$", r".xlstm.conv.\1", new)
        for theirs, ours in ((final, "final_norm."), (head_norm, "head_norm."), ("head.1.", "head.")):
            if name.startswith(theirs):
                new = ours + name.removeprefix(theirs)
        renamed[new] = tensors[key]
    return Weights(renamed, PATCHES, SOURCE), Form(version, raw)


def _unpaired(match: re.Match[str]) -> str:
    return f"blocks.{2 * int(match[1]) + (match[2] == 'bot_right')}."


def _convolution(names: Mapping[str, str]) -> str:
    for name in names:
        if re.search(r"^xlstm\.blocks\.0\.xlstm\.conv1d\.(conv\.)?weight$", name):
            return name
    raise ValueError(f"{SOURCE}: the first block of the state dict has no convolution")


def _backbone(config: Mapping[str, Any], weights: Weights, form: Form) -> xLSTMConfig:
    """Sizes are read off the weights; a config that says otherwise is refused."""
    pattern = re.compile(r"blocks\.(\d+)\.xlstm\.proj_up\.weight")
    blocks = sorted(int(match[1]) for name in weights.names() if (match := pattern.fullmatch(name)))
    if blocks != [*range(len(blocks))] or (form.version == 2 and len(blocks) % 2):
        raise ValueError(f"{SOURCE}: the state dict has no complete blocks, only {blocks}")
    layer = "blocks.0.xlstm."
    inner, dim = weights.peek(f"{layer}proj_up.weight").shape
    inner //= 2
    options = {
        "proj_bias": f"{layer}proj_up.bias" in weights,
        "norm_bias": "blocks.0.xlstm_norm.bias" in weights,
    }
    for name, actual in {"dim": dim, "depth": len(blocks) // form.version, **options}.items():
        check(config, name, actual, weights)
    return xLSTMConfig(
        embedding_dim=dim,
        num_blocks=len(blocks),
        num_heads=len(weights.peek(f"{layer}mlstm_cell.igate.bias")),
        mlstm_proj_factor=inner / dim,
        proj_round_to=1,
        qkv_block_size=weights.peek(f"{layer}q_proj.weight").shape[-1],
        bias=options["proj_bias"],
        norm_bias=options["norm_bias"],
        norm_eps=NORM_EPS,
        final_norm="final_norm.weight" in weights,
    )


def _vision(config: Mapping[str, Any], weights: Weights, form: Form) -> dict[str, Any]:
    """Arguments of `VisionConfig`."""
    dim, channels, *patch = weights.peek(PATCHES).shape
    positions = weights.peek("pos_embed.embed") if "pos_embed.embed" in weights else None
    if config.get("patch_size") is not None:
        stated = config["patch_size"]
        stated = [stated] * len(patch) if isinstance(stated, int) else [*stated]
        check({"patch_size": stated}, "patch_size", patch, weights)
    stride = config.get("stride") or patch
    stride = [stride] * len(patch) if isinstance(stride, int) else [*stride]
    shape = config.get("input_shape")
    if shape is not None:
        check({"input channels": shape[0]}, "input channels", channels, weights)
    if positions is not None:  # the size for which they are stored, which is not always that of `input_shape`
        size = [(n - 1) * s + p for n, s, p in zip(positions.shape[1:-1], stride, patch, strict=True)]
    elif shape is not None:
        size = [*shape[1:]]
    else:
        raise ValueError(f"{SOURCE}: without position embedding the config must have an input_shape")
    classes = len(weights.peek("head.weight")) if "head.weight" in weights else 0
    if config.get("output_shape") is not None:
        check({"classes": math.prod(config["output_shape"])}, "classes", classes or None, weights)
    conv = "blocks.0.xlstm.conv."
    over_grid = f"{conv}weight" in weights
    kernel = weights.peek(f"{conv}weight" if over_grid else "blocks.0.xlstm.conv1d.conv.weight").shape[-1]
    swapped = form.version == 2 and not form.raw
    return {
        "img_size": tuple(size),
        "patch_size": tuple(patch),
        "stride": tuple(stride),
        "in_chans": channels,
        "num_classes": classes,
        "positions": "none" if positions is None else "learned",
        "conv": "grid" if over_grid else "causal",
        "conv_kernel_size": kernel,
        "pooling": _pooling(config, weights, form, dim),
        "final_norm_eps": config.get("final_norm_eps") or (OTHER_EPS if swapped else NORM_EPS),
        "head_norm": "head_norm.weight" in weights,
        "head_norm_eps": config.get("head_norm_eps") or (NORM_EPS if swapped else OTHER_EPS),
        "drop_path_rate": float(config.get("drop_path_rate") or 0.0),
        "drop_path_decay": bool(config.get("drop_path_decay", False)),
    }


def _pooling(config: Mapping[str, Any], weights: Weights, form: Form, dim: int) -> str:
    """Read off what the head takes, which a config may not contradict."""
    stated = config.get("pooling", "bilateral_flatten" if form.version == 2 else "bilateral_avg")
    if stated not in POOLINGS:
        raise ValueError(
            f"{SOURCE}: pooling={stated!r} is not supported; load with 'bilateral_flatten' and take forward_features "
            "or forward_intermediates of the module for tokens or pictures"
        )
    for name in ("head.weight", "head_norm.weight"):
        if name in weights:
            width = weights.peek(name).shape[-1]
            read = "bilateral_flatten" if width == 2 * dim else "bilateral_avg"
            if "pooling" in config:
                check(config, "pooling", read, weights)
            return POOLINGS[read]
    return POOLINGS[stated]


def _tensors(backbone: xLSTMConfig, weights: Weights) -> dict[str, Tensor]:
    """The tensors of `VisionLSTM`."""
    tensors = prefixed("patch_embed.", weights.take_linear("patch_embed.proj."))
    if "pos_embed.embed" in weights:
        tensors["positions.embedding"] = weights.take("pos_embed.embed")
    for index in range(backbone.num_blocks):
        block = f"blocks.{index}."
        tensors |= prefixed(block, mlstm_block(weights, block))
        if f"{block}xlstm.conv.weight" in weights:
            tensors |= prefixed(f"{block}mixer.conv.", weights.take_linear(f"{block}xlstm.conv."))
    if backbone.final_norm:
        tensors |= prefixed("final_norm.", stored_norm(weights, "final_norm."))
    for name in ("head_norm.", "head."):
        if f"{name}weight" in weights:
            tensors |= prefixed(name, weights.take_linear(name))
    return tensors
