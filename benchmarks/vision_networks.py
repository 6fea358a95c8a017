"""Networks of equal size for the benchmarks of images: Vision-LSTM, a ViT with fused attention, a ResNet."""

from __future__ import annotations

from typing import Any

NETWORKS = ("vil", "vil-mlp", "vit", "resnet")
SIZES: dict[str, dict[str, Any]] = {
    "300k": {"embedding_dim": 64, "num_blocks": 8},
    "3m": {"embedding_dim": 192, "num_blocks": 12, "num_heads": 3},
}
"""Width, blocks and heads of the Vision-LSTM; the others get as many weights."""
STEM = (32, 64)
"""Features of the two convolutions before the patches."""


def build(
    name: str, size: str, *, img_size: int, in_chans: int, num_classes: int, patch_size: int, drop_path: float = 0.0
) -> Any:
    """A network of that kind, pixels to class scores; a Vision-LSTM leaves out blocks at the rate `drop_path`."""
    import torch

    from xlstm_apps.vision import create_model
    from xlstm_apps.vision.baselines import matched

    shape = {"img_size": img_size, "in_chans": in_chans, "num_classes": num_classes, "patch_size": patch_size}
    made = create_model("vil_tiny", drop_path_rate=drop_path, **shape, **SIZES[size])
    if name == "vil":
        return made
    weights = parameters(made)
    if name == "vil-mlp":
        shape |= {"num_blocks": SIZES[size]["num_blocks"] // 2}

        def distance(dim: int) -> int:
            with torch.device("meta"):
                return abs(parameters(create_model("vil_mlp_tiny", **shape, embedding_dim=dim)) - weights)

        width = min(range(32, 400, 8), key=distance)
        return create_model("vil_mlp_tiny", drop_path_rate=drop_path, **shape, embedding_dim=width)
    return matched(
        name, weights, in_chans=in_chans, num_classes=num_classes, img_size=img_size, patch_size=patch_size,
        depth=SIZES[size]["num_blocks"] // 2,
    )  # fmt: skip


def with_stem(name: str, size: str, *, img_size: int, in_chans: int, **shape: Any) -> Any:
    """Two convolutions of 3 x 3, the second of stride 2, and the network on what they give."""
    from torch import nn

    layers, given = [], in_chans
    for features, stride in zip(STEM, (1, 2), strict=True):
        layers += [nn.Conv2d(given, features, 3, stride, 1, bias=False), nn.BatchNorm2d(features), nn.SiLU()]
        given = features
    body = build(name, size, img_size=-(-img_size // 2), in_chans=given, **shape)
    return nn.Sequential(*layers, body)


def parameters(network: Any) -> int:
    """Number of learned numbers."""
    return sum(p.numel() for p in network.parameters())
