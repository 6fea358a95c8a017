"""Images per second of vil_tiny beside ViT-tiny (fused attention) by resolution: training and inference, and memory.

    python benchmarks/vision_speed.py --seconds 110 --output FOLDER                # one GPU: 224, 448, 896, bfloat16
    python benchmarks/vision_speed.py --resolutions 224 448 1024 --tasks infer --batch 1 --output FOLDER    # CPU

One row per (network, task, resolution, batch) goes to vision_speed.csv in the output folder, with the rows that were in
results/ before; rows that are there are not made again. Patches of 16 pixels; both networks have about as many weights;
times are medians. The batch is such that about `--tokens` patches are read at a time, unless `--batch` says. On a GPU
all are measured twice: called as they are, and as CUDA graphs (column `graph`), of the pass or of the loss with its
gradient, which is how classifiers are trained.
"""

from __future__ import annotations

import argparse
import statistics
import time
from itertools import product
from pathlib import Path
from typing import Any

import torch
from grid import RESULTS, Row, read, write
from torch import nn
from vision_networks import parameters

from xlstm_apps.core.graphed import GraphedLoss, capture
from xlstm_apps.vision import create_model
from xlstm_apps.vision.baselines import ViT

NAME = "vision_speed.csv"
KEY = ("network", "task", "resolution", "batch", "precision", "graph", "device")
FIELDS = (*KEY, "parameters", "patches", "milliseconds", "images_per_second", "peak_mib", "threads", "torch")
NETWORKS = ("vil_tiny", "vil_mlp_tiny", "vit_tiny")


def build(name: str, resolution: int) -> nn.Module:
    if name == "vit_tiny":  # 12 blocks of width 192 and three heads, as DeiT-tiny
        return ViT(3, 1000, resolution, 16, dim=192, depth=12, num_heads=3)
    return create_model(name, img_size=resolution)


def call_of(network: nn.Module, task: str, x: torch.Tensor, bfloat16: bool, graph: bool) -> Any:
    """One step of training, or one pass."""

    def half(**options: Any) -> Any:
        return torch.autocast(x.device.type, torch.bfloat16, enabled=bfloat16, **options)

    if task == "infer":

        def infer() -> None:
            with half(cache_enabled=not graph), torch.inference_mode():
                network(x)

        return capture(infer) if graph else infer
    labels = torch.randint(1000, (len(x),), device=x.device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)

    def loss_of(x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(network(x), labels)

    loss = GraphedLoss(network, loss_of) if graph else loss_of

    def train() -> None:
        optimizer.zero_grad()
        with half():
            found = loss(x=x, labels=labels)
        found.backward()
        optimizer.step()

    return train


def measure(key: Row, options: argparse.Namespace) -> Row:
    name, task, resolution, batch = (key[field] for field in ("network", "task", "resolution", "batch"))
    device = torch.device(options.device)
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    network = build(name, resolution).to(device).train(task == "train")
    x = torch.randn(batch, 3, resolution, resolution, device=device)
    call, cuda = call_of(network, task, x, options.bfloat16, bool(key["graph"])), device.type == "cuda"
    peak = None
    for _ in range(options.warmup):
        call()
    if cuda:
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
    times, started = [], time.perf_counter()
    while len(times) < 3 or (time.perf_counter() - started < options.budget and len(times) < 50):
        begin = time.perf_counter()
        call()
        if cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    if cuda:
        peak = (torch.cuda.max_memory_allocated() - before) / 2**20
    seconds = statistics.median(times)
    return {
        **key, "parameters": parameters(network), "patches": (-(-resolution // 16)) ** 2,
        "milliseconds": 1000 * seconds, "images_per_second": batch / seconds, "peak_mib": peak,
        "threads": torch.get_num_threads(), "torch": torch.__version__,
    }  # fmt: skip


def device_name(options: argparse.Namespace) -> str:
    return torch.cuda.get_device_name() if options.device == "cuda" else "cpu"


def main() -> None:
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--tasks", nargs="+", default=["infer", "train"], choices=["infer", "train"])
    parser.add_argument("--resolutions", nargs="+", type=int, default=[224, 448, 896])
    parser.add_argument("--tokens", type=int, default=2**15 if cuda else 2**10, help="patches at a time, about")
    parser.add_argument("--batch", type=int, help="images at a time, whatever their size")
    parser.add_argument("--budget", type=float, default=2.0 if cuda else 5.0, help="seconds for a row")
    parser.add_argument("--warmup", type=int, default=3 if cuda else 1)
    parser.add_argument("--device", default="cuda" if cuda else "cpu")
    parser.add_argument("--bfloat16", action=argparse.BooleanOptionalAction, default=cuda)
    parser.add_argument("--seconds", type=float, default=1e9, help="start no row after this time")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    started = time.monotonic()
    rows = read(options.output / NAME)
    have = {tuple(str(row[k]) for k in KEY) for row in rows}
    rows += [row for row in read(RESULTS / NAME) if tuple(str(row[k]) for k in KEY) not in have]
    have = {tuple(str(row[k]) for k in KEY) for row in rows}
    for resolution, task, name, graph in product(
        options.resolutions, options.tasks, options.networks, (0, 1) if options.device == "cuda" else (0,)
    ):
        batch = options.batch or max(1, round(options.tokens / (-(-resolution // 16)) ** 2))
        key: Row = {"network": name, "task": task, "resolution": resolution, "batch": batch,
                    "precision": "bf16" if options.bfloat16 else "fp32", "graph": graph,
                    "device": device_name(options)}  # fmt: skip
        if tuple(str(key[k]) for k in KEY) in have:
            continue
        if time.monotonic() - started > options.seconds:
            raise SystemExit("time is up; the same command makes the rows that are left")
        told = f"{name:13s} {task:6s} {resolution:5d} x{batch:<4d} {'graph' if graph else 'eager'}"
        try:
            row = measure(key, options)
        except torch.OutOfMemoryError:
            print(f"{told} is too large for the memory", flush=True)
            torch.cuda.empty_cache()
            continue
        rows.append(row)
        write(options.output / NAME, FIELDS, rows)
        print(f"{told} {row['images_per_second']:10.2f} images/s", flush=True)


if __name__ == "__main__":
    main()
