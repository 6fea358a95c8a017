"""Networks with about as many weights as another one has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import nn

from xlstm_apps.core.size import count_weights
from xlstm_apps.vision.baselines.resnet import ResNet
from xlstm_apps.vision.baselines.vit import ViT

Kind = Literal["resnet", "vit"]


def matched(
    kind: Kind,
    parameters: int,
    *,
    in_chans: int,
    num_classes: int,
    img_size: int | tuple[int, int],
    patch_size: int,
    depth: int,
) -> nn.Module:
    """A ResNet or a ViT whose width is such that it has as many weights as asked for, or nearly.

    Args:
        kind: Which.
        parameters: How many.
        in_chans: Channels.
        num_classes: Outputs.
        img_size: Of the images: one number for squares, or height and width.
        patch_size: Of a ViT's patches.
        depth: Blocks of a ViT.
    """
    if kind == "resnet":
        longer = img_size if isinstance(img_size, int) else max(img_size)
        return _closest(parameters, 4, lambda width: ResNet(in_chans, num_classes, longer, width))
    return _closest(
        parameters,
        8,
        lambda dim: ViT(in_chans, num_classes, img_size, patch_size, dim, depth, 4 if dim % 4 == 0 else 1),
    )


def _closest(parameters: int, step: int, build: Callable[[int], nn.Module]) -> nn.Module:
    """The network of that width, in steps, that comes closest."""

    def size(width: int) -> int:
        with torch.device("meta"):
            return count_weights(build(width))

    width = step
    while size(width + step) <= parameters:
        width += step
    nearer = min((width, width + step), key=lambda w: abs(size(w) - parameters))
    return build(nearer)
