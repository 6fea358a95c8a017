"""What a classifier looked at: the paths of the mLSTM's own weights, and Grad-CAM."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from xlstm_apps.vision.classifier import ImageClassifier
from xlstm_apps.vision.model import VisionLSTM
from xlstm_apps.vision.parallel import in_parallel
from xlstm_apps.vision.paths import Grid, ScanPath

MOST_PATCHES = 4096
"""Of an image whose weights are shown: they take room by the square."""


@torch.no_grad()
def mixing(model: VisionLSTM, x: Tensor) -> list[Tensor]:
    """For every block, how much each patch (row) takes of each other one (column), by rows of the grid: [B, S, S].

    These are the very weights of the mLSTM, without their signs, averaged over heads and over the paths of the block.

    Args:
        model: In evaluation mode.
        x: Images [B, C, H, W] as the model takes them.

    Raises:
        ValueError: Too many patches.
    """
    _, grid = model.patch_embed(x[:1])
    _check(grid)
    found: list[Tensor] = []

    def record(index: int, a: Tensor) -> None:
        paths = [ScanPath(name, grid) for name in model.scan_of(index)]
        parts = a.abs().mean(1).unflatten(0, (len(paths), -1)).unbind()
        by_rows = [path.leave(path.leave(part).mT).mT for path, part in zip(paths, parts, strict=True)]
        found.append(torch.stack(by_rows).mean(0))

    with in_parallel(model, record):
        model.forward_features(x)
    return found


@torch.no_grad()
def relevance(classifier: ImageClassifier, x: Tensor) -> Tensor:
    """How much of each patch reaches what the head reads, along the mLSTM's weights through all blocks: [B, *grid].

    Every block passes on one half as it is and one half mixed by its weights, made to sum up to 1 (attention rollout,
    Abnar & Zuidema 2020). The values of an image sum up to 1.

    Args:
        classifier: In evaluation mode.
        x: Pixels [B, C, H, W] from 0 to 1.
    """
    model = classifier.model
    maps = mixing(model, classifier.normalize(x))
    flow = torch.eye(maps[0].shape[-1], device=x.device).expand_as(maps[0])
    for a in maps:
        flow = (flow + (a / a.sum(-1, keepdim=True).clamp(min=1e-12)) @ flow) / 2
    _, grid = model.patch_embed(x[:1])
    places = read_patches(model, flow.shape[1])
    return (flow if places is None else flow[:, places]).mean(1).unflatten(-1, grid)


def grad_cam(classifier: ImageClassifier, x: Tensor, classes: Tensor, block: int | None = None) -> Tensor:
    """Where a class is seen (Selvaraju et al. 2017): features behind a block, weighted by the mean gradient of the
    class's score by them, negative values cut off: [B, *grid].

    Args:
        classifier: In evaluation mode.
        x: Pixels [B, C, H, W] from 0 to 1.
        classes: Number of the class for each image [B].
        block: Behind which block, from 0, -1 the last. None: two blocks before the end, since what reads the first and
            the last patch only has no gradient behind the last block but there.
    """
    model = classifier.model
    depth = len(model.blocks)
    index = max(0, depth - 3) if block is None else model.block_indices([block])[0]
    kept: list[Tensor] = []

    def keep(module: torch.nn.Module, given: tuple, out: Tensor) -> None:
        kept.append(out)

    handle = model.blocks[index].register_forward_hook(keep)
    try:
        with torch.enable_grad():
            scores = classifier(x.detach().requires_grad_())
            picked = scores.gather(1, classes[:, None]).sum()
            (gradient,) = torch.autograd.grad(picked, kept[0])
    finally:
        handle.remove()
    weight = gradient.mean(1, keepdim=True)
    _, grid = model.patch_embed(x[:1])
    return (kept[0].detach() * weight).sum(-1).relu().unflatten(-1, grid)


def read_patches(model: VisionLSTM, count: int) -> list[int] | None:
    """Numbers of the patches that pooling reads, of `count`; None: all of them."""
    last = count - 1
    known = {"bilateral_concat": [0, last], "bilateral_avg": [0, last], "first": [0], "last": [last]}
    return {**known, "middle": [count // 2]}.get(model.vision.pooling)


def _check(grid: Grid) -> None:
    patches = math.prod(grid)
    if patches > MOST_PATCHES:
        raise ValueError(
            f"{patches:,} patches are too many to show all their weights, at most {MOST_PATCHES:,}; use a smaller image"
        )
