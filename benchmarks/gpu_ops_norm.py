"""Rows of `gpu_ops.py` for the norms, beside torch's own operations: of heads with the gate behind it, of features."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from gpu_ops import Timer, backend_rows

from xlstm_apps.kernels import feature_norm, gated_norm

SHAPES = {  # name: B, T, H, D, with features that bypass the cell
    "B 8, T 8192, 4 heads of 192": (8, 8192, 4, 192, True),
    "B 8, T 8192, 4 heads of 512, sigmoid": (8, 8192, 4, 512, False),
    "images: B 167, T 196, 4 heads of 96": (167, 196, 4, 96, True),
    "step: B 32, T 1, 4 heads of 384": (32, 1, 4, 384, True),
}
FEATURE_SHAPES = {  # name: rows, width, LayerNorm or else RMSNorm
    "residual stream: 32732 x 192": (32_732, 192, True),
    "residual stream: 65536 x 768": (65_536, 768, True),
    "residual stream: 65536 x 768, RMSNorm": (65_536, 768, False),
    "residual stream: 8192 x 4096, RMSNorm": (8192, 4096, False),
}


def norm_rows(timer: Timer, quick: bool, only: str) -> Iterator[dict]:
    yield from gated_rows(timer, quick, only)
    yield from feature_rows(timer, quick, only)


def gated_rows(timer: Timer, quick: bool, only: str) -> Iterator[dict]:
    for name, (B, T, H, D, bypass) in SHAPES.items():
        if only not in name:
            continue

        def make(B=B, T=T, H=H, D=D, bypass=bypass) -> tuple:
            h = torch.randn(B, T, H, D, device="cuda", dtype=torch.bfloat16)
            gate = torch.randn(B, T, 2 * H * D, device="cuda", dtype=torch.bfloat16)[..., H * D :]  # as projected
            scale = torch.randn(2, H * D, device="cuda")
            return (h, gate, *scale, torch.randn_like(gate), scale[0] + 1) if bypass else (h, gate, scale[0])

        call = partial(gated_norm, eps=1e-5, activation="silu" if bypass else "sigmoid")
        numbers = B * T * H * D
        # Least bytes: h, gate and a in, y out; these and dy in again, their gradients out.
        size = (22 if bypass else 16) * numbers
        yield from backend_rows(timer, quick, "norm", name, make, call, 4 if numbers < 1 << 26 else 1, size)


def feature_rows(timer: Timer, quick: bool, only: str) -> Iterator[dict]:
    """From float32 to bfloat16, as under autocast."""
    for name, (rows, width, centred) in FEATURE_SHAPES.items():
        if only not in name:
            continue

        def make(rows=rows, width=width) -> tuple:
            return torch.randn(rows, width, device="cuda"), *torch.randn(2, width, device="cuda")

        call = partial(feature_norm, eps=1e-5, centred=centred, dtype=torch.bfloat16)
        # Least bytes: x in, y out; x and dy in, dx out.
        yield from backend_rows(timer, quick, "norm", name, make, call, 4, 16 * rows * width)
