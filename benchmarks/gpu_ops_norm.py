"""Rows of `gpu_ops.py` for the norms, beside torch's own operations: of heads with the gate behind it, of features."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from gpu_ops import Timer, measure

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

        for backend in ("triton",) if quick else ("triton", "torch"):

            def forward(*inputs, bypass=bypass, backend=backend) -> torch.Tensor:
                return gated_norm(*inputs, eps=1e-5, activation="silu" if bypass else "sigmoid", backend=backend)

            row: dict = {"op": "norm", "implementation": backend, "shape": name, "dtype": "bfloat16"}
            row |= measure(timer, forward, make, 4 if B * T * H * D < 1 << 26 else 1, True)
            # Least bytes: h, gate and a in, y out; these and dy in again, their gradients out.
            yield row | {"tbytes_both": (22 if bypass else 16) * B * T * H * D / row["both_graph_ms"] / 1e9}
            torch.cuda.empty_cache()


def feature_rows(timer: Timer, quick: bool, only: str) -> Iterator[dict]:
    """From float32 to bfloat16, as under autocast."""
    for name, (rows, width, centred) in FEATURE_SHAPES.items():
        if only not in name:
            continue

        def make(rows=rows, width=width) -> tuple:
            return torch.randn(rows, width, device="cuda"), *torch.randn(2, width, device="cuda")

        for backend in ("triton",) if quick else ("triton", "torch"):

            def forward(*inputs, centred=centred, backend=backend) -> torch.Tensor:
                return feature_norm(*inputs, eps=1e-5, centred=centred, dtype=torch.bfloat16, backend=backend)

            row: dict = {"op": "norm", "implementation": backend, "shape": name, "dtype": "bfloat16"}
            row |= measure(timer, forward, make, 4, True)
            # Least bytes: x in, y out; x and dy in, dx out.
            yield row | {"tbytes_both": 16 * rows * width / row["both_graph_ms"] / 1e9}
            torch.cuda.empty_cache()
