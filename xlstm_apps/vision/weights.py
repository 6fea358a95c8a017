"""Weights from files, and for a model that is not quite the one they were trained for."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from xlstm_apps.core.pretrained import stored_config
from xlstm_apps.interop import load_reference
from xlstm_apps.vision.classifier import ImageClassifier
from xlstm_apps.vision.model import VisionLSTM
from xlstm_apps.vision.patches import stretch

logger = logging.getLogger("xlstm_apps")


def read_model(path: str | os.PathLike[str]) -> VisionLSTM:
    """The model in a folder that `save_pretrained` wrote (that of a classifier too), or in a file of published weights.

    Files are read without running any code in them.

    Raises:
        ValueError: The path does not exist, or holds something else.
    """
    path = Path(path)
    if path.is_dir():
        if "images" in stored_config(path):
            return ImageClassifier.from_pretrained(path).model
        return VisionLSTM.from_pretrained(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file or folder of weights")
    tensors = _tensors(path)
    try:
        model = load_reference("vision-lstm", {}, tensors)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    assert isinstance(model, VisionLSTM)
    return model


def _tensors(path: Path) -> dict[str, Any]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings(action="ignore"):  # about pickles of other kinds, which are refused below
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror or type(error).__name__})") from error
    except Exception as error:  # files of other kinds and damaged ones make torch raise whatever its parts do
        raise ValueError(
            f"{path}: no readable weights: it is damaged, or no file of tensors alone as torch.save and safetensors "
            "write them (code in a file is not run)"
        ) from error
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise ValueError(f"{path}: holds a {type(content).__name__}, not a dictionary of weights by name")
    return content


def adopt(model: VisionLSTM, source: VisionLSTM) -> list[str]:
    """Copy the weights of a trained model of the same layers.

    Positions are interpolated; where channels are fewer or more, the projection of patches keeps the sum over them; a
    head for another number of classes stays new.

    Returns:
        Names of parameters that stayed as they were initialised. They are also logged.

    Raises:
        ValueError: Other weights do not fit.
    """
    tensors, own = dict(source.state_dict()), model.state_dict()
    if "positions.embedding" in tensors and "positions.embedding" in own:
        tensors["positions.embedding"] = stretch(tensors["positions.embedding"], model.vision.grid)
    tensors["patch_embed.weight"] = adapt_channels(tensors["patch_embed.weight"], model.vision.in_chans)
    parts = []
    if model.vision.pooling != source.vision.pooling:
        parts = ["pool.", "head_norm.", "head."]
    elif model.vision.num_classes != source.vision.num_classes:
        parts = ["head."]
    fresh = [name for name in own if name.startswith(tuple(parts))]
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(tuple(parts))}
    problems = [f"no value for {name}" for name in own if name not in tensors and name not in fresh]
    problems += [f"{name} is not used" for name in tensors if name not in own]
    for name, tensor in tensors.items():
        if name in own and own[name].shape != tensor.shape:
            problems.append(f"{name} has shape {[*tensor.shape]} where {[*own[name].shape]} is expected")
    if problems:
        raise ValueError(f"the weights do not fit the model: {'; '.join(problems[:3])}")
    model.load_state_dict(tensors, strict=False)
    if fresh:
        logger.info("new, not from the trained model: %s", ", ".join(fresh))
    return fresh


def adapt_channels(weight: Tensor, channels: int) -> Tensor:
    """Patch projection [E, C, *patch] for another number of channels: summed for one, else repeated and scaled so that
    an image whose channels are all alike gives the same."""
    given = weight.shape[1]
    if given == channels:
        return weight
    if channels == 1:
        return weight.sum(1, keepdim=True)
    index = torch.arange(channels) % given
    times = torch.bincount(index, minlength=given)[index].to(weight)
    shape = (1, -1, *(1,) * (weight.dim() - 2))
    scale = 1 / times if channels >= given else torch.full_like(times, given / channels)
    return weight[:, index] * scale.view(shape)
