"""Times of the GPU operations, beside the ceilings of the card and what else does a similar job.

    python benchmarks/gpu_ops.py [--quick] [--only mlstm|rnn|conv|norm|others] [--filter TEXT] [--output FILE.csv]

Every time is a median over repeats measured with CUDA events, in milliseconds, after a warm-up, on fresh random inputs
(several sets in turn, so that small shapes do not live in the cache), gradients returned and never accumulated.
`eager` is a plain call from Python; `graph` is a replay of the same calls captured in a CUDA graph, without the time
Python needs.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

from xlstm_apps.core.graphed import capture
from xlstm_apps.kernels import mlstm

RESULTS = Path(__file__).parent / "results" / "gpu_ops.csv"
FIELDS = (
    "op", "implementation", "shape", "dtype", "forward_eager_ms", "forward_graph_ms", "both_eager_ms", "both_graph_ms",
    "bar_forward_ms", "bar_both_ms", "goal_forward_ms", "goal_both_ms", "tflops_both", "tbytes_both", "peak_gib",
)  # fmt: skip
MLSTM_SHAPES = {  # name: (B, T, H, K, V, options), bar, goal: forward and both, in ms on one H100
    "7B layer, T 4096": ((16, 4096, 8, 256, 512, {}), (3.5, 12), (2.2, 7)),
    "7B layer, T 65536": ((1, 65536, 8, 256, 512, {}), (4.0, 13), (2.4, 7.5)),
    "7B layer, sigmoid": ((16, 4096, 8, 256, 512, {"input_gate": "sigmoid"}), (3.2, 11), (2.0, 7)),
    "7B layer, sigmoid, no normaliser": (
        (16, 4096, 8, 256, 512, {"input_gate": "sigmoid", "normalize": False}), (3.2, 11), (2.0, 7)
    ),
    "B 32, T 1024, D 64": ((32, 1024, 4, 64, 64, {}), (0.10, 0.6), (0.06, 0.25)),
    "B 8, T 8192, D 128": ((8, 8192, 4, 128, 128, {}), (0.35, 1.2), (0.2, 0.7)),
    "images: B 256, T 256, D 64": ((256, 256, 4, 64, 64, {}), (0.2, 0.7), (0.1, 0.35)),
    "patches: B 1024, T 64, D 32": ((1024, 64, 4, 32, 32, {}), (0.1, 0.5), (0.05, 0.25)),
}  # fmt: skip


def median(times: list[float]) -> float:
    return sorted(times)[len(times) // 2]


class Timer:
    """Medians of calls, eager and as a CUDA graph."""

    def __init__(self, budget_ms: float) -> None:
        self.budget_ms = budget_ms

    def _repeats(self, call: Callable[[], object]) -> int:
        call()
        torch.cuda.synchronize()
        return max(5, min(200, int(self.budget_ms / max(self._once(call), 1e-3))))

    @staticmethod
    def _once(call: Callable[[], object]) -> float:
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end)

    def eager(self, calls: list[Callable[[], object]]) -> float:
        """Time per call when calls follow each other, as in training: all sets in turn, divided by their number."""
        for _ in range(2):
            _every(calls)
        return self._share(partial(_every, calls), len(calls))

    def graph(self, calls: list[Callable[[], object]]) -> float:
        return self._share(capture(partial(_every, calls)), len(calls))

    def _share(self, every: Callable[[], object], count: int) -> float:
        return median([self._once(every) / count for _ in range(self._repeats(every))])


def _every(calls: list[Callable[[], object]]) -> None:
    for call in calls:
        call()


def ceilings(timer: Timer) -> tuple[float, float]:
    """TFLOP/s of a large bf16 matrix product and TB/s of a large copy, bytes read plus written."""
    a, b = torch.randn(2, 8192, 8192, device="cuda", dtype=torch.bfloat16)
    product = 2 * 8192**3 / timer.eager([lambda: a @ b]) / 1e9
    x = torch.randn(1 << 30, device="cuda", dtype=torch.bfloat16)
    y = torch.empty_like(x)
    return product, 4 * x.numel() / timer.eager([lambda: y.copy_(x)]) / 1e9


def measure(timer: Timer, forward: Callable, make: Callable[[], tuple], sets: int, graphs: bool) -> dict[str, float]:
    """Eager and graph times of `forward(*inputs)` and of it with its gradients."""
    inputs = [make() for _ in range(sets)]
    with torch.no_grad():
        output = forward(*inputs[0])
    weights = [torch.randn_like(output) for _ in inputs]

    def only_forward(x: tuple) -> Callable[[], object]:
        def call() -> object:
            with torch.no_grad():
                return forward(*x)

        return call

    def both(x: tuple, weight: torch.Tensor) -> Callable[[], object]:
        leaves = tuple(t.detach().requires_grad_() for t in x)
        return lambda: torch.autograd.grad(forward(*leaves), leaves, weight)

    del output
    calls = [only_forward(x) for x in inputs]
    result = {"forward_eager_ms": timer.eager(calls)}
    if graphs:
        result["forward_graph_ms"] = timer.graph(calls)
    calls = [both(x, w) for x, w in zip(inputs, weights, strict=True)]
    calls[0]()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    calls[0]()
    torch.cuda.synchronize()
    result["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
    result["both_eager_ms"] = timer.eager(calls)
    if graphs:
        result["both_graph_ms"] = timer.graph(calls)
    return result


def backend_rows(
    timer: Timer, quick: bool, op: str, shape: str, make: Callable[[], tuple], call: Callable, sets: int, size: float
) -> Iterator[dict]:
    """Rows of a shape: `call(*inputs, backend=...)` by our kernels and, unless `quick`, by torch's own operations.
    `size`: least bytes of forward and backward."""
    for backend in ("triton",) if quick else ("triton", "torch"):
        row: dict = {"op": op, "implementation": backend, "shape": shape, "dtype": "bfloat16"}
        row |= measure(timer, partial(call, backend=backend), make, sets, True)
        yield row | {"tbytes_both": size / row["both_graph_ms"] / 1e9}
        torch.cuda.empty_cache()


def mlstm_work(B: int, T: int, H: int, K: int, V: int) -> tuple[float, float]:
    """Operations and least bytes of forward and backward in bf16; chunks of 64 to 256 as the kernels choose them."""
    L = 64 if max(K, V) <= 64 else 128 if max(K, V) <= 128 else 256
    tokens = B * T * H
    return tokens * (14 * K * V + L * (4 * K + 3 * V)), tokens * (12 * (K + V) + 32)


def mlstm_rows(timer: Timer, quick: bool, only: str) -> Iterator[dict]:
    for name, ((B, T, H, K, V, options), bar, goal) in MLSTM_SHAPES.items():
        if only not in name:
            continue

        def make(B=B, T=T, H=H, K=K, V=V) -> tuple:
            q, k = torch.randn(2, B, T, H, K, device="cuda", dtype=torch.bfloat16)
            v = torch.randn(B, T, H, V, device="cuda", dtype=torch.bfloat16)
            gates = torch.randn(2, B, T, H, device="cuda")
            return q, k, v, gates[0], gates[1] + 4

        small = B * T * H * (K + V) < 1 << 27
        flops, size = mlstm_work(B, T, H, K, V)
        for backend in ("triton",) if quick else ("triton", "torch"):
            row = {
                "op": "mlstm", "implementation": backend, "shape": name, "dtype": "bfloat16",
                "bar_forward_ms": bar[0], "bar_both_ms": bar[1], "goal_forward_ms": goal[0], "goal_both_ms": goal[1],
            }  # fmt: skip
            try:
                row |= measure(
                    timer,
                    lambda *x, o=options, b=backend: mlstm(*x, backend=b, **o),
                    make,
                    4 if small else 1,
                    backend == "triton",
                )
            except torch.OutOfMemoryError:
                print(f"{name}: {backend} needs more memory than the card has", file=sys.stderr)
                continue
            time = row.get("both_graph_ms", row["both_eager_ms"])
            yield row | {"tflops_both": flops / time / 1e9, "tbytes_both": size / time / 1e9}
            torch.cuda.empty_cache()


def attention_rows(timer: Timer, only: str) -> Iterator[dict]:
    """Causal attention with the heads and the value dimension of each mLSTM shape."""
    for name, ((B, T, H, _, V, options), _, _) in MLSTM_SHAPES.items():
        if only not in name or options:
            continue
        D = min(128, V)
        heads = H * V // D

        def make(B=B, T=T, heads=heads, D=D) -> tuple:
            return tuple(torch.randn(3, B, heads, T, D, device="cuda", dtype=torch.bfloat16))

        row = {"op": "attention", "implementation": "sdpa", "shape": f"{name} ({heads} heads of {D})"}
        yield (
            row
            | {"dtype": "bfloat16"}
            | measure(
                timer,
                lambda q, k, v: torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True),
                make,
                1,
                False,
            )
        )
        torch.cuda.empty_cache()


def show(row: dict) -> None:
    def cell(key: str) -> str:
        return f"{row[key]:8.3f}" if key in row else " " * 8

    print(
        f"{row['op']:10s} {row['implementation']:8s} {row['shape'][:44]:44s} {row['dtype']:8s} "
        f"forward {cell('forward_eager_ms')} graph {cell('forward_graph_ms')} bar {cell('bar_forward_ms')} | "
        f"both {cell('both_eager_ms')} graph {cell('both_graph_ms')} bar {cell('bar_both_ms')} "
        f"goal {cell('goal_both_ms')} | {cell('tflops_both')} TFLOP/s {cell('tbytes_both')} TB/s "
        f"{cell('peak_gib')} GiB",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="this project's kernels alone, fewer repeats")
    parser.add_argument("--only", choices=["mlstm", "rnn", "conv", "norm", "others"], help="one group of rows")
    parser.add_argument("--budget", type=float, default=300, help="milliseconds to repeat each measurement for")
    parser.add_argument("--filter", default="", help="only shapes whose name contains this")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the CSV file")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("error: gpu_ops.py needs a CUDA device")
    timer = Timer(min(arguments.budget, 60) if arguments.quick else arguments.budget)
    product, copy = ceilings(timer)
    card = torch.cuda.get_device_name()
    print(f"{card}, torch {torch.__version__}: {product:.0f} TFLOP/s, {copy:.2f} TB/s", flush=True)
    groups: list[Iterator[dict]] = []
    if arguments.only in (None, "mlstm"):
        groups.append(mlstm_rows(timer, arguments.quick, arguments.filter))
    sys.path.insert(0, str(Path(__file__).parent))
    if arguments.only in (None, "rnn"):
        from gpu_ops_rnn import rnn_rows

        groups.append(rnn_rows(timer, arguments.quick, arguments.filter))
    if arguments.only in (None, "conv"):
        from gpu_ops_conv import conv_rows

        groups.append(conv_rows(timer, arguments.quick, arguments.filter))
    if arguments.only in (None, "norm"):
        from gpu_ops_norm import norm_rows

        groups.append(norm_rows(timer, arguments.quick, arguments.filter))
    if arguments.only == "others" or (arguments.only is None and not arguments.quick):
        groups.append(attention_rows(timer, arguments.filter))
    ceiling = {"op": "ceiling", "implementation": card, "shape": "matrix product, copy"}
    ceiling |= {"tflops_both": product, "tbytes_both": copy}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    with arguments.output.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        for row in itertools.chain([ceiling], *groups):
            if row is not ceiling:
                show(row)
            writer.writerow({key: f"{value:.4g}" if isinstance(value, float) else value for key, value in row.items()})
            file.flush()
    print(f"wrote {arguments.output}")


if __name__ == "__main__":
    main()
