"""Time and memory of a segmentation network that has the device for itself."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from grid import Row

FIELDS = ("network", "parameters", "batch", "precision", "train_ms", "train_mb", "ms_per_image", "mb_per_image",
          "device", "torch")  # fmt: skip


def alone(network: Any, batch: int, size: int, device: str, times: int = 20) -> Row:
    """A step of training, and one picture at a time; medians, and memory beyond the weights (of GPUs only)."""
    import torch

    from xlstm_apps.vision.segment_loss import dice_cross_entropy
    from xlstm_apps.vision.unet import count_weights

    cuda = device == "cuda"
    network = network.to(device).train()
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    x = torch.randn(batch, 1, size, size, device=device)
    labels = torch.randint(2, (batch, size, size), device=device)

    def half() -> Any:
        return torch.autocast(device, torch.bfloat16, enabled=cuda)

    def step() -> None:
        with half():
            loss = dice_cross_entropy(network(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def one() -> None:
        with torch.inference_mode(), half():
            network(x[:1])

    train_ms, train_mb = _timed(step, times, cuda)
    optimizer.zero_grad()
    network.eval()
    network.decoder.deep_supervision = False
    image_ms, image_mb = _timed(one, times, cuda)
    return {
        "parameters": count_weights(network), "batch": batch, "precision": "bf16-mixed" if cuda else "32-true",
        "train_ms": train_ms, "train_mb": train_mb, "ms_per_image": image_ms, "mb_per_image": image_mb,
        "device": torch.cuda.get_device_name() if cuda else f"cpu, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
    }  # fmt: skip


def _timed(call: Callable[[], None], times: int, cuda: bool) -> tuple[float, float | None]:
    """Milliseconds, and MiB at most."""
    import torch

    for _ in range(min(3, times)):
        call()
    before = 0
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    found = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        if cuda:
            torch.cuda.synchronize()
        found.append(time.perf_counter() - started)
    return 1000 * statistics.median(found), (torch.cuda.max_memory_allocated() - before) / 2**20 if cuda else None
