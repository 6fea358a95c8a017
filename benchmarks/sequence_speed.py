"""Speed and memory of sequence models by length: training, scoring, scoring as a stream, reading on symbol by symbol.

    python benchmarks/sequence_speed.py [--networks xlstm-mlstm ...] [--lengths 1024 ...] [--seconds 500] [--output DIR]

One row per (network, task, length) goes to sequence_speed.csv in the output folder, with the rows that were in results/
before; rows that are there are not made again. Networks have equally many parameters; computation is in bfloat16 where
autocast says so. Times are medians, memory is the peak beyond what was taken before the call.

`train`: forward, backward and AdamW on about `--tokens` symbols, as many windows of a length as that makes. `score`:
the same symbols, one pass. `stream`: one sequence of that length, in chunks, the state handed on. `step`: one more
symbol for each of eight sequences of that length, as plain calls. `generate`: the same with `generate` (xLSTM).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from grid import RESULTS, Row, cell_of, known_rows, write
from grid_fit import facts
from sequence_networks import NETWORKS, SIZES, build

NAME = "sequence_speed.csv"
LENGTHS = (2**10, 2**13, 2**16, 2**18)
TASKS = ("train", "score", "stream", "step", "generate")
KEY = ("network", "size", "task", "length", "batch")
FIELDS = (
    *KEY,
    "parameters",
    "milliseconds",
    "tokens_per_second",
    "peak_mib",
    "state_mib",
    "precision",
    "device",
    "torch",
)
CHUNK, ROWS, NEW = 2**14, 8, 64


def timed(call: Callable[[], object], device: torch.device, budget: float) -> tuple[float, float | None]:
    """Median milliseconds, and the peak of memory in MiB (CUDA only)."""

    def once() -> float:
        _wait(device)
        started = time.perf_counter()
        call()
        _wait(device)
        return time.perf_counter() - started

    once()  # compiles kernels
    first = once()
    peak = None
    if device.type == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        first = once()
        peak = (torch.cuda.max_memory_allocated() - before) / 2**20
    times = sorted([first, *(once() for _ in range(min(20, int(budget / max(first, 1e-3)))))])
    return 1e3 * times[len(times) // 2], peak


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def state_mib(state: Any) -> float:
    if hasattr(state, "nbytes"):
        return state.nbytes / 2**20
    sizes: list[int] = []
    state.map(lambda tensor: (sizes.append(tensor.nbytes), tensor)[1])
    return sum(sizes) / 2**20


def measured(model: Any, task: str, length: int, batch: int, device: torch.device, budget: float) -> Row:
    from xlstm_apps.biosequence.module import SequenceModule

    ids = torch.randint(7, 11, (batch, length), device=device)
    row: Row = {}
    if task == "train":
        module, optimizer = (
            SequenceModule(model.train()),
            torch.optim.AdamW(model.parameters(), 1e-4, fused=device.type == "cuda"),
        )

        def call() -> None:
            module.training_step({"ids": ids}, 0).backward()
            optimizer.step()
            optimizer.zero_grad()
    elif task in ("score", "stream"):
        chunk = length if task == "score" else CHUNK

        def call() -> None:
            model.score(ids, chunk_length=chunk)
    else:
        with torch.autocast(device.type, torch.bfloat16):
            state = model.read(ids).state
        row["state_mib"] = round(state_mib(state), 2)

        @torch.no_grad()
        def call() -> None:
            if task == "generate":
                model.generate(list(ids[:, -1:]), NEW, state=state, temperature=1.0)
            else:
                model.step(ids[:, -1], state)

    with torch.autocast(device.type, torch.bfloat16):
        milliseconds, peak = timed(call, device, budget)
    tokens = batch * (length if task in ("train", "score", "stream") else NEW if task == "generate" else 1)
    row |= {"milliseconds": round(milliseconds, 3), "tokens_per_second": round(1e3 * tokens / milliseconds)}
    return row if peak is None else {**row, "peak_mib": round(peak, 1)}


def batch_of(task: str, length: int, tokens: int) -> int:
    return max(1, tokens // length) if task in ("train", "score") else 1 if task == "stream" else ROWS


def measure(options: argparse.Namespace) -> int:
    rows, device = known_rows(options.output, NAME, KEY), torch.device(options.device)
    where = facts(argparse.Namespace(precision="bf16-mixed"), options.device)
    torch.set_float32_matmul_precision("high")
    started, failed = time.monotonic(), 0
    done = {cell_of(row, KEY) for row in rows}
    for length in options.lengths:
        for network in options.networks:
            for task in options.tasks:
                batch = batch_of(task, length, options.tokens)
                cell = {"network": network, "size": options.size, "task": task, "length": length, "batch": batch}
                if cell_of(cell, KEY) in done or (task == "generate" and not network.startswith("xlstm")):
                    continue
                if time.monotonic() - started > options.seconds:
                    print("time is up; the same command goes on from here", flush=True)
                    return failed
                try:
                    torch.manual_seed(0)
                    model, parameters = build(network, options.size)
                    found = measured(model.to(device).eval(), task, length, batch, device, options.budget)
                except torch.OutOfMemoryError:
                    parameters, found = None, {"peak_mib": "out of memory"}
                except Exception as error:  # one cell that fails does not end the others; it is shown and counted
                    failed += 1
                    print(f"FAILED {network} {task} {length}: {type(error).__name__}: {str(error)[:200]}", flush=True)
                    continue
                model = None
                if device.type == "cuda":
                    torch.cuda.empty_cache()
                rows.append({**cell, "parameters": parameters, **found, **where})
                write(options.output / NAME, FIELDS, rows)
                print(
                    f"{time.monotonic() - started:4.0f} s  {network:12s} {task:8s} {length:7d} x {batch:<4d}"
                    f"{found.get('tokens_per_second', '-'):>10} tokens/s  {found.get('peak_mib', '-')} MiB "
                    f"state {found.get('state_mib', '-')} MiB",
                    flush=True,
                )
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of sequence_speed.csv")
    parser.add_argument(
        "--networks", nargs="+", default=["xlstm-mlstm", "xlstm-mixed", "transformer"], choices=NETWORKS
    )
    parser.add_argument("--size", default="2m", choices=SIZES)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--lengths", nargs="+", type=int, default=list(LENGTHS))
    parser.add_argument("--tokens", type=int, default=2**18, help="symbols per call of train and score")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--budget", type=float, default=1.0, help="seconds to repeat each measurement for")
    parser.add_argument("--seconds", type=float, default=1e9, help="start no measurement after this time")
    options = parser.parse_args()
    if failed := measure(options):
        raise SystemExit(f"{failed} measurements failed")


if __name__ == "__main__":
    main()
