"""What tests of kernels ask of a GPU and of Triton."""

from __future__ import annotations

import pytest
import torch


def need_memory(gib: int) -> None:
    """Skip the test where so much is not free."""
    if torch.cuda.mem_get_info()[0] < gib << 30:
        pytest.skip(f"needs {gib} GiB of free GPU memory")


def variants(*kernels) -> int:
    """How often Triton has compiled these jitted functions."""
    return sum(len(cache[0]) for kernel in kernels for cache in kernel.device_caches.values())
