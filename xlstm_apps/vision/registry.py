"""Models by name, with what a user would want to change about them."""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
import os
from typing import Any

from xlstm_apps.core.config import check_options, xLSTMConfig
from xlstm_apps.vision.config import VisionConfig
from xlstm_apps.vision.features import FeaturePyramid
from xlstm_apps.vision.model import VisionLSTM
from xlstm_apps.vision.weights import adopt, read_model


def _published(dim: int, num_blocks: int, version: int) -> tuple[VisionConfig, xLSTMConfig]:
    if version == 1:
        vision = VisionConfig(conv="causal", pooling="bilateral_avg", head_norm_eps=1e-6)
        return vision, xLSTMConfig(embedding_dim=dim, num_blocks=num_blocks)
    vision = VisionConfig(final_norm_eps=1e-6)
    return vision, xLSTMConfig(embedding_dim=dim, num_blocks=num_blocks, bias=True, norm_bias=True)


def _narrow(dim: int, num_blocks: int) -> tuple[VisionConfig, xLSTMConfig]:
    vision, layers = _published(dim, num_blocks, 2)
    return vision, dataclasses.replace(layers, mlstm_proj_factor=1.0)


def _with_feed_forward(dim: int) -> tuple[VisionConfig, xLSTMConfig]:
    layers = xLSTMConfig(family="xlstm-large", embedding_dim=dim, num_blocks=12)
    return VisionConfig(pooling="mean"), layers


MODELS: dict[str, tuple[VisionConfig, xLSTMConfig]] = {
    "vil_pico": _narrow(64, 4),
    "vil_nano": _published(128, 8, 2),
    "vil_tiny": _published(192, 24, 2),
    "vil_small": _published(384, 24, 2),
    "vil_base": _published(768, 24, 2),
    "vil_v1_tiny": _published(192, 24, 1),
    "vil_v1_tinyplus": _published(192, 29, 1),
    "vil_v1_small": _published(384, 24, 1),
    "vil_v1_smallplus": _published(384, 26, 1),
    "vil_v1_base": _published(768, 24, 1),
    "vil_mlp_tiny": _with_feed_forward(192),
    "vil_mlp_small": _with_feed_forward(384),
    "vil_mlp_base": _with_feed_forward(768),
}
"""`vil_*`: Vision-LSTM, second version, for patches of 16 pixels; blocks are counted singly, the publication counts
pairs; `vil_pico` (with no wider mLSTM) and `vil_nano` are ours, for small images. `vil_v1_*`: the first version.
`vil_mlp_*`: half as many blocks with a feed-forward behind each mLSTM, of about the same number of parameters."""

SHORT = {"embed_dim": "embedding_dim", "depth": "num_blocks", "global_pool": "pooling"}


def list_models(pattern: str = "*") -> list[str]:
    """Names that fit a pattern such as "vil_mlp_*"."""
    return sorted(fnmatch.filter(MODELS, pattern))


def create_model(
    name: str,
    *,
    features_only: bool = False,
    out_indices: int | list[int] | tuple[int, ...] | None = None,
    pretrained_path: str | os.PathLike[str] | None = None,
    **options: Any,
) -> VisionLSTM | FeaturePyramid:
    """Build a model by name.

    Args:
        name: As in `list_models`.
        features_only: Give feature maps [B, E, *grid] behind some blocks, for segmentation and detection.
        out_indices: Which blocks, as in `VisionLSTM.forward_intermediates`; None: the ends of four equal parts.
        pretrained_path: Weights to begin with: a folder written by `save_pretrained`, or a file of published
            Vision-LSTM weights. A different number of classes gets a new head, other channels and another `img_size`
            are adapted to.
        options: Fields of `VisionConfig` and `xLSTMConfig` to change: `num_classes`, `in_chans`, `img_size`,
            `drop_path_rate`, `scan`, `num_blocks`, ...

    Raises:
        ValueError: No such model or option, or weights that are of another one.
    """
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(list_models())}"
        raise ValueError(f"no model {name!r}; {hint}")
    vision, backbone = MODELS[name]
    for short, long in SHORT.items():
        if short in options:
            options[long] = options.pop(short)
    ours = [field.name for field in dataclasses.fields(VisionConfig)]
    theirs = [field.name for field in dataclasses.fields(xLSTMConfig)]
    check_options(options, [*ours, *theirs])
    changes = {key: value for key, value in options.items() if key in ours}
    backbone = dataclasses.replace(backbone, **{key: value for key, value in options.items() if key in theirs})
    if isinstance(changes.get("img_size"), (tuple, list)) and len(changes["img_size"]) != len(vision.img_size):
        dims = len(changes["img_size"])  # pictures become signals or volumes, with patches of the same length
        changes = {"patch_size": (vision.patch_size[0],) * dims, "stride": None, **changes}
    if "patch_size" in changes:
        changes.setdefault("stride", None)
    if changes.get("conv", vision.conv) != vision.conv:
        changes.setdefault("conv_kernel_size", None)
    source = None if pretrained_path is None else read_model(pretrained_path)
    if source is not None:
        # What the weights were trained with, except where the caller says otherwise.
        layers = {key: value for key, value in options.items() if key in theirs}
        _check_same(name, pretrained_path, backbone, source.config)
        vision, backbone = source.vision, dataclasses.replace(source.config, **layers)
        if "num_classes" not in changes:
            changes["num_classes"] = source.vision.num_classes
    model = VisionLSTM(dataclasses.replace(vision, **changes), backbone)
    if source is not None:
        adopt(model, source)
    return FeaturePyramid(model, out_indices) if features_only else _without_indices(model, out_indices)


def _without_indices(model: VisionLSTM, out_indices: object) -> VisionLSTM:
    if out_indices is not None:
        raise ValueError("out_indices goes with features_only=True")
    return model


def _check_same(name: str, path: object, asked: xLSTMConfig, found: xLSTMConfig) -> None:
    width = "inner_dim" if asked.family == "xlstm" else "ffn_dim"
    for field in ("family", "embedding_dim", "num_blocks", "num_heads", width):
        wanted, given = getattr(asked, field), getattr(found, field)
        if wanted != given:
            raise ValueError(f"{path}: these weights are not of {name}: {field} is {given} there, {wanted} here")
