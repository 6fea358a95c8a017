"""Rows of `gpu_ops.py` for the convolutions with SiLU, causal and over a grid, beside torch's own operations."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from gpu_ops import Timer, backend_rows

from xlstm_apps.kernels import causal_conv1d, depthwise_conv2d

SHAPES = {  # name: B, T, E, kernel size, options
    "B 8, T 8192, E 768": (8, 8192, 768, 4, {}),
    "B 8, T 8192, E 2048": (8, 8192, 2048, 4, {}),
    "B 8, T 8192, E 768, documents of 1000": (8, 8192, 768, 4, {"documents": 1000}),
    "B 8, T 8192, E 768, 16 taps": (8, 8192, 768, 16, {}),
    "images: B 256, T 256, E 384": (256, 256, 384, 4, {}),
    "step: B 32, T 1, E 1536": (32, 1, 1536, 4, {"window": True}),
}
GRIDS = {  # name: N, height, width, E, kernel size
    "images: N 167, 14 x 14, E 384": (167, 14, 14, 384, 3),
    "images: N 10, 56 x 56, E 384": (10, 56, 56, 384, 3),
    "image: N 1, 128 x 128, E 384": (1, 128, 128, 384, 3),
    "images: N 668, 7 x 7, E 384": (668, 7, 7, 384, 3),
}


def conv_rows(timer: Timer, quick: bool, only: str) -> Iterator[dict]:
    yield from _causal_rows(timer, quick, only)
    yield from _grid_rows(timer, quick, only)


def _causal_rows(timer: Timer, quick: bool, only: str) -> Iterator[dict]:
    for name, (B, T, E, taps, options) in SHAPES.items():
        if only not in name:
            continue
        window, documents = options.get("window", False), options.get("documents")
        position = None if documents is None else torch.arange(T, device="cuda") % documents

        def make(B=B, T=T, E=E, taps=taps, window=window) -> tuple:
            x = torch.randn(B, T, 2 * E, device="cuda", dtype=torch.bfloat16)[..., :E]  # as the up-projection leaves it
            tensors = x, torch.randn(taps, E, device="cuda"), torch.randn(E, device="cuda")
            return (*tensors, x.new_zeros(B, taps - 1, E)) if window else tensors

        call = partial(causal_conv1d, position=position, activation="silu")
        numbers = B * T * E
        # Least bytes: x in, y out; x and dy in, dx out.
        yield from backend_rows(timer, quick, "conv", name, make, call, 4 if numbers < 1 << 26 else 1, 10 * numbers)


def _grid_rows(timer: Timer, quick: bool, only: str) -> Iterator[dict]:
    for name, (N, h, w, E, size) in GRIDS.items():
        if only not in name:
            continue

        def make(N=N, h=h, w=w, E=E, size=size) -> tuple:
            x = torch.randn(N, h * w, 2 * E, device="cuda", dtype=torch.bfloat16)[..., :E]
            return x, torch.randn(E, 1, size, size, device="cuda"), torch.randn(E, device="cuda")

        call = partial(depthwise_conv2d, grid=(h, w), activation="silu")
        # Least bytes: x in, y out; x and dy in, dx out.
        yield from backend_rows(timer, quick, "conv2d", name, make, call, 4, 10 * N * h * w * E)
