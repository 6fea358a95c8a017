"""Rows of `gpu_ops.py` for the recurrences with memory mixing, beside `torch.nn.LSTM` of the same width."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from gpu_ops import Timer, measure

from xlstm_apps.kernels import rnn

SHAPES = {  # name: (cell, B, T, H, D), bar, goal: forward and both, in ms on one H100
    "slstm B 16, T 1024, 12 x 64": (("slstm", 16, 1024, 12, 64), (1.2, 3.2), (0.6, 1.5)),
    "slstm B 64, T 1024, 12 x 64": (("slstm", 64, 1024, 12, 64), (1.5, 4), (0.8, 2)),
    "slstm B 16, T 1024, 6 x 128": (("slstm", 16, 1024, 6, 128), (2.5, 7), (1.2, 3)),
    "slstm B 256, T 256, 4 x 64": (("slstm", 256, 256, 4, 64), None, None),
    "slstm B 16, T 1024, 3 x 256": (("slstm", 16, 1024, 3, 256), None, None),
    "lstm B 16, T 1024, 12 x 64": (("lstm", 16, 1024, 12, 64), None, None),
    "gru B 16, T 1024, 12 x 64": (("gru", 16, 1024, 12, 64), None, None),
    "elman B 16, T 1024, 12 x 64": (("elman", 16, 1024, 12, 64), None, None),
}
NN_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "tf32": torch.float32, "float32": torch.float32}


def work(cell: str, B: int, T: int, H: int, D: int) -> tuple[float, float]:
    """Operations and least bytes of forward and backward in bf16."""
    gates = {"gru": 3, "elman": 1}.get(cell, 4)
    # Forward: gates in, h out. Backward: gates and h again, dh in, dgates out.
    return 6.0 * B * T * H * D * D * gates, 2.0 * B * T * H * D * (3 * gates + 3)


def rnn_rows(timer: Timer, quick: bool, only: str) -> Iterator[dict]:
    for name, (shape, bar, goal) in SHAPES.items():
        if only not in name:
            continue
        cell, B, T, H, D = shape
        gates = {"gru": 3, "elman": 1}.get(cell, 4)

        def make(cell=cell, B=B, T=T, H=H, D=D, gates=gates) -> tuple:
            x = torch.randn(B, T, gates, H, D, device="cuda", dtype=torch.bfloat16)
            recurrent = (torch.randn(gates, H, D, D, device="cuda") * D**-0.5).bfloat16()
            return x, recurrent, torch.randn(4 if cell == "gru" else gates, H, D, device="cuda")

        flops, size = work(*shape)
        for backend in ("triton",) if quick or bar is None else ("triton", "torch"):
            row: dict = {"op": "rnn", "implementation": backend, "shape": name, "dtype": "bfloat16"}
            if bar is not None and goal is not None:
                row |= dict(zip(("bar_forward_ms", "bar_both_ms"), bar, strict=True))
                row |= dict(zip(("goal_forward_ms", "goal_both_ms"), goal, strict=True))

            def forward(*inputs, cell=cell, backend=backend) -> torch.Tensor:
                return rnn(*inputs, cell=cell, backend=backend)

            row |= measure(timer, forward, make, 2 if backend == "triton" else 1, backend == "triton")
            time = row.get("both_graph_ms", row["both_eager_ms"])
            yield row | {"tflops_both": flops / time / 1e9, "tbytes_both": size / time / 1e9}
            torch.cuda.empty_cache()
    if not quick:
        for B in (16, 64):
            for name, dtype in NN_DTYPES.items():
                yield nn_row(timer, B, 1024, 768, name, dtype)


def nn_row(timer: Timer, B: int, T: int, width: int, name: str, dtype: torch.dtype) -> dict:
    """`torch.nn.LSTM` with one dense head; its times include the projection of the input.

    cuDNN knows no bfloat16: there torch goes step by step by its own kernels, and the row says so.
    """
    lstm = torch.nn.LSTM(width, width, batch_first=True).to("cuda", dtype)
    x = torch.randn(B, T, width, device="cuda", dtype=dtype, requires_grad=True)
    weight = torch.randn(B, T, width, device="cuda", dtype=dtype)
    leaves = [x, *lstm.parameters()]

    def forward() -> torch.Tensor:
        with torch.no_grad():
            return lstm(x)[0]

    calls: dict[str, Callable[[], object]] = {
        "forward_eager_ms": forward,
        "both_eager_ms": lambda: torch.autograd.grad(lstm(x)[0], leaves, weight),
    }
    kind = "cudnn" if torch.backends.cudnn.is_acceptable(x) else "torch.nn"
    row = {"op": "rnn", "implementation": kind, "shape": f"lstm B {B}, T {T}, 1 x {width}, with W x", "dtype": name}
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=name == "tf32"):
        return row | {key: timer.eager([call]) for key, call in calls.items()}
