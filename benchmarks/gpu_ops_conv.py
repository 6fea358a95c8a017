"""Rows of `gpu_ops.py` for the causal convolution with SiLU, beside the chain of torch's own operations."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from gpu_ops import Timer, measure

from xlstm_apps.kernels import causal_conv1d

SHAPES = {  # name: B, T, E, kernel size, options
    "B 8, T 8192, E 768": (8, 8192, 768, 4, {}),
    "B 8, T 8192, E 2048": (8, 8192, 2048, 4, {}),
    "B 8, T 8192, E 768, documents of 1000": (8, 8192, 768, 4, {"documents": 1000}),
    "B 8, T 8192, E 768, 16 taps": (8, 8192, 768, 16, {}),
    "images: B 256, T 256, E 384": (256, 256, 384, 4, {}),
    "step: B 32, T 1, E 1536": (32, 1, 1536, 4, {"window": True}),
}


def conv_rows(timer: Timer, quick: bool, only: str) -> Iterator[dict]:
    for name, (B, T, E, taps, options) in SHAPES.items():
        if only not in name:
            continue
        window, documents = options.get("window", False), options.get("documents")
        position = None if documents is None else torch.arange(T, device="cuda") % documents

        def make(B=B, T=T, E=E, taps=taps, window=window) -> tuple:
            x = torch.randn(B, T, 2 * E, device="cuda", dtype=torch.bfloat16)[..., :E]  # as the up-projection leaves it
            tensors = x, torch.randn(taps, E, device="cuda"), torch.randn(E, device="cuda")
            return (*tensors, x.new_zeros(B, taps - 1, E)) if window else tensors

        for backend in ("triton",) if quick else ("triton", "torch"):

            def forward(*inputs, position=position, backend=backend) -> torch.Tensor:
                return causal_conv1d(*inputs, position=position, activation="silu", backend=backend)

            row: dict = {"op": "conv", "implementation": backend, "shape": name, "dtype": "bfloat16"}
            row |= measure(timer, forward, make, 4 if B * T * E < 1 << 26 else 1, True)
            # Least bytes: x in, y out; x and dy in, dx out.
            yield row | {"tbytes_both": 10 * B * T * E / row["both_graph_ms"] / 1e9}
            torch.cuda.empty_cache()
