"""Kernels are compiled for a GPU where there is none, and not run: what the interpreter lets pass, such as a variable
that changes its type in a loop, the compiler may refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

PREPARE = """
import itertools

import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver


class Absent:
    "A driver of a card that is not there."

    def get_current_target(self):
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self):
        return 0

    def get_current_stream(self, device=None):
        return 0


driver.set_active(Absent())
from xlstm_apps.kernels import triton_plan as plans

compiled = set()


def compile_only(plan, tensors):
    views = [plans._view(tensors[x.tensor], x) for x in plan._operands]
    for kernel, programs, operands, numbers, meta in plan._launches:
        kernel.warmup(*(views[i] for i in operands), *numbers, grid=(programs,), **meta)
        compiled.add(kernel.__name__)


plans.Plan.run = compile_only
"""
MLSTM = """
from xlstm_apps.kernels.mlstm import triton
from xlstm_apps.kernels.mlstm.reference import MLSTMState

options = {"input_gate": "exp", "normalize": True, "eps": 1e-6, "scale": 0.1, "cu_seqlens": None, "chunk_size": None}
for D, learned in itertools.product(SIZES, (True, False)):
    T = 512 if learned else 256  # up to which few small heads keep the memory on chip
    q, k, v = torch.zeros(3, 1, T, 2, D, dtype=torch.bfloat16).requires_grad_().unbind()
    gates = torch.zeros(2, 1, T, 2, requires_grad=True).unbind()
    state = MLSTMState(torch.zeros(1, 2, D, D, requires_grad=learned), torch.zeros(1, 2, D), torch.zeros(1, 2))
    h, last = triton.mlstm(q, k, v, *gates, state, **options)
    (h.float().sum() + last.c.sum()).backward()
"""
CONV = """
from xlstm_apps.kernels.conv import triton

x, window = torch.zeros(2, 50, 192, dtype=torch.bfloat16)[..., :96], torch.zeros(2, TAPS - 1, 96)
weight, bias = torch.zeros(TAPS, 96).requires_grad_(), torch.zeros(96)
for window, position in ((window, None), (None, torch.arange(50))):
    triton.causal_conv1d(x, weight, bias, window, position=position, activation="silu").float().sum().backward()
"""
GRID_CONV = """
from xlstm_apps.kernels.conv.grid import triton

x = torch.zeros(2, 20, 192, dtype=torch.bfloat16)[..., :96]
weight, bias = torch.zeros(96, 1, SIZE, SIZE).requires_grad_(), torch.zeros(96)
for activation in ("silu", None):
    triton.depthwise_conv2d(x, weight, bias, grid=(4, 5), activation=activation).float().sum().backward()
"""
NORM = """
from xlstm_apps.kernels.norm import triton

h, gate = torch.zeros(2, 50, 4, 96, dtype=torch.bfloat16).requires_grad_(), torch.zeros(2, 50, 384)
weight, bias, skip = torch.zeros(3, 384).unbind()
for own in ((bias, gate, skip), (None, None, None)):
    triton.gated_norm(h, gate, weight, *own, eps=1e-5, activation="silu").float().sum().backward()
"""
FEATURE_NORM = """
from xlstm_apps.kernels.norm.features import triton

x = torch.zeros(50, 2 * WIDTH)[:, :WIDTH].requires_grad_()
for (weight, bias), centred in itertools.product(((x[0], x[1]), (x[0], None)), (True, False)):
    for dtype in (torch.float32, torch.bfloat16):
        y = triton.feature_norm(x, weight, bias, eps=1e-5, centred=centred, dtype=dtype)
        y.backward(torch.zeros_like(y))
"""
SHOW = "print(*sorted(compiled))"


@pytest.fixture
def compile_kernels(run_script: Callable[..., str], tmp_path: Path) -> Callable[[str], list[str]]:
    """Names of the kernels that some calls compile."""

    def compile_calls(calls: str) -> list[str]:
        return run_script(PREPARE + calls + SHOW, TRITON_CACHE_DIR=str(tmp_path), TRITON_INTERPRET="0").split()

    return compile_calls


@pytest.mark.parametrize(
    ("size", "kernel"), [(64, "fused_scan_kernel"), (128, "medium_query_kernel"), (256, "memory_gradient_kernel")]
)
def test_mlstm_kernels_compile(compile_kernels: Callable[[str], list[str]], size: int, kernel: str) -> None:
    assert kernel in compile_kernels(MLSTM.replace("SIZES", f"({size},)"))


@pytest.mark.parametrize("taps", [1, 4])
def test_convolution_compiles(compile_kernels: Callable[[str], list[str]], taps: int) -> None:
    assert compile_kernels(CONV.replace("TAPS", str(taps))) == ["backward_kernel", "forward_kernel"]


@pytest.mark.parametrize("size", [1, 3, 7])
def test_convolution_over_a_grid_compiles(compile_kernels: Callable[[str], list[str]], size: int) -> None:
    assert compile_kernels(GRID_CONV.replace("SIZE", str(size))) == ["backward_kernel", "forward_kernel"]


def test_gated_norm_compiles(compile_kernels: Callable[[str], list[str]]) -> None:
    assert compile_kernels(NORM) == ["backward_kernel", "forward_kernel"]


@pytest.mark.parametrize("width", [1, 192, 8192])
def test_feature_norm_compiles(compile_kernels: Callable[[str], list[str]], width: int) -> None:
    assert compile_kernels(FEATURE_NORM.replace("WIDTH", str(width))) == ["backward_kernel", "forward_kernel"]
