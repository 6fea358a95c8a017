"""Speed of the plain-torch kernels on the CPU, as ratios: both sides run in this process, in turns.

    python benchmarks/cpu_ops.py [--threads 2] [--seconds 4]

Every row is forward plus backward. The sLSTM and its kin are compared with `torch.nn.LSTM` and its kin of the same
width, alone (`rnn` on projected inputs; the layers of torch project themselves) and with the projection they need. The
chunkwise mLSTM is compared with the quadratic parallel form under autograd, and with itself over lengths; sequences of
one chunk with the way of those that hand on their state. Medians; the table goes to
`benchmarks/results/cpu_ops.csv`. On a busy machine several threads wait for each other: use one.
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from xlstm_apps.kernels import mlstm, rnn

SHORT = ((32, 16, 16), (32, 64, 64), (8, 64, 128), (256, 32, 32))
RESULTS = Path(__file__).parent / "results" / "cpu_ops.csv"


def parallel_mlstm(q: Tensor, k: Tensor, v: Tensor, igate: Tensor, fgate: Tensor) -> Tensor:
    """The quadratic parallel form, [B, T, H, D] in and out: every pair of steps at once."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    sums = F.logsigmoid(fgate).cumsum(1).transpose(1, 2)
    weights = sums[..., :, None] - sums[..., None, :] + igate.transpose(1, 2)[..., None, :]
    causal = torch.ones(weights.shape[-2:], dtype=torch.bool).tril()
    weights = weights.masked_fill(~causal, -math.inf)
    m = torch.maximum(weights.amax(-1, keepdim=True), sums[..., None]).detach()
    scores = (q @ k.mT) * q.shape[-1] ** -0.5 * torch.exp(weights - m)
    h = scores @ v / (torch.maximum(scores.sum(-1, keepdim=True).abs(), torch.exp(-m)) + 1e-6)
    return h.transpose(1, 2)


def in_turns(functions: list[Callable[[], object]], seconds: float) -> list[float]:
    """Median seconds of each function, all measured in turns for about `seconds` together."""
    times: list[list[float]] = [[] for _ in functions]
    end = None
    while end is None or time.perf_counter() < end or len(times[0]) < 3:
        for function, record in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()
            record.append(time.perf_counter() - start)
        if end is None:  # the first round was the warm-up
            end = time.perf_counter() + seconds
            times = [[] for _ in functions]
    return [statistics.median(record) for record in times]


def mlstm_inputs(batch: int, length: int, heads: int, dim: int) -> list[Tensor]:
    tensors = [torch.randn(batch, length, heads, dim) for _ in range(3)]
    tensors += [torch.randn(batch, length, heads), torch.randn(batch, length, heads) + 3]
    return [x.requires_grad_() for x in tensors]


def training_step(function: Callable[..., Tensor], leaves: list[Tensor], upstream: Tensor) -> Callable[[], object]:
    return lambda: torch.autograd.grad(function(), leaves, upstream)


def recurrent_rows(length: int, seconds: float, batch: int = 32, heads: int = 4, dim: int = 32) -> list[dict]:
    width = heads * dim
    x = torch.randn(batch, length, width, requires_grad=True)
    upstream = torch.randn(batch, length, width)
    rows = []
    for cell, gates, layer in (("slstm", 4, "LSTM"), ("lstm", 4, "LSTM"), ("gru", 3, "GRU"), ("elman", 1, "RNN")):
        module = getattr(torch.nn, layer)(width, width, batch_first=True)
        project = torch.nn.Linear(width, gates * width, bias=False)
        recurrent = (torch.randn(gates, heads, dim, dim) / dim**0.5).requires_grad_()
        bias = torch.zeros(4 if cell == "gru" else gates, heads, dim, requires_grad=True)
        given = torch.randn(batch, length, gates, heads, dim, requires_grad=True)
        ours = lambda g, r=recurrent, b=bias, c=cell: rnn(g, r, b, cell=c, backend="torch").flatten(2)  # noqa: E731
        whole = lambda f=ours, p=project, s=given.shape: f(p(x).view(s))  # noqa: E731
        alone, projected, theirs = in_turns(
            [
                training_step(lambda f=ours, g=given: f(g), [given, recurrent, bias], upstream),
                training_step(whole, [x, project.weight, recurrent, bias], upstream),
                training_step(lambda m=module: m(x)[0], [x, *module.parameters()], upstream),
            ],
            seconds,
        )
        shape = f"B {batch}, T {length}, {heads} heads of {dim}"
        against = f"torch.nn.{layer}({width})"
        for op, taken in ((f"rnn {cell}", alone), (f"rnn {cell} + projection", projected)):
            rows.append(row(op, shape, taken, against, theirs, f"{taken / theirs:.2f} x its time"))
    return rows


def mlstm_rows(batch: int, length: int, seconds: float, heads: int = 4, dim: int = 64) -> list[dict]:
    tensors = mlstm_inputs(batch, length, heads, dim)
    upstream = torch.randn(batch, length, heads, dim)
    chunkwise, quadratic = in_turns(
        [
            training_step(lambda: mlstm(*tensors, backend="torch"), tensors, upstream),
            training_step(lambda: parallel_mlstm(*tensors), tensors, upstream),
        ],
        seconds,
    )
    shape = f"B {batch}, T {length}, {heads} heads of {dim}"
    return [row("mlstm", shape, chunkwise, "quadratic form", quadratic, f"{quadratic / chunkwise:.0f} x as fast")]


def short_rows(batch: int, length: int, seconds: float, heads: int, dim: int) -> list[dict]:
    tensors = mlstm_inputs(batch, length, heads, dim)
    upstream = torch.randn(batch, length, heads, dim)
    short, long = in_turns(
        [
            training_step(lambda: mlstm(*tensors, backend="torch"), tensors, upstream),
            training_step(lambda: mlstm(*tensors, return_state=True, backend="torch")[0], tensors, upstream),
        ],
        seconds,
    )
    shape = f"B {batch}, T {length}, {heads} heads of {dim}"
    return [row("mlstm of one chunk", shape, short, "itself with the state", long, f"{long / short:.1f} x as fast")]


def growth_rows(seconds: float, heads: int = 4, dim: int = 32) -> list[dict]:
    rows: list[dict] = []
    per_step = None
    for length in (1024, 4096, 16_384, 65_536):
        tensors = mlstm_inputs(1, length, heads, dim)
        upstream = torch.randn(1, length, heads, dim)
        (taken,) = in_turns([training_step(lambda t=tensors: mlstm(*t, backend="torch"), tensors, upstream)], seconds)
        per_step = per_step or taken / length
        relative = f"{taken / length / per_step:.2f} x per step"
        shape = f"B 1, T {length}, {heads} heads of {dim}"
        rows.append(row("mlstm", shape, taken, "itself at T 1024", per_step * length, relative))
    return rows


def row(op: str, shape: str, taken: float, against: str, other: float, ratio: str) -> dict:
    return {"op": op, "shape": shape, "ms": round(1e3 * taken, 2), "against": against, "its_ms": round(1e3 * other, 2),
            "ratio": ratio}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="threads torch may use (default 2)")
    parser.add_argument("--seconds", type=float, default=4.0, help="time per comparison (default 4)")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)

    rows = [row for length in (64, 512) for row in recurrent_rows(length, options.seconds)]
    rows += mlstm_rows(4, 2048, 2 * options.seconds)
    rows += mlstm_rows(1, 4096, 2 * options.seconds)
    rows += growth_rows(options.seconds)
    for batch, length, dim in SHORT:
        rows += short_rows(batch, length, options.seconds, 4, dim)

    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"forward + backward, torch {torch.__version__}, {options.threads} threads, medians")
    for column in rows[0]:
        table.add_column(column, justify="right" if column.endswith("ms") else "left", no_wrap=True)
    for entry in rows:
        table.add_row(*map(str, entry.values()))
    Console(width=130).print(table)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(f"written to {RESULTS}")


if __name__ == "__main__":
    main()
