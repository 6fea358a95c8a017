"""What this machine can run: versions, devices, kernel backends, and a numeric check of each."""

import importlib.metadata
import importlib.util
import logging
import platform
from collections.abc import Callable
from functools import cache, partial
from typing import Any

PACKAGES = ("xlstm-apps", "torch", "triton", "lightning", "numpy", "pandas", "polars")
EXTRAS = {
    "bio": "Bio",
    "chem": "rdkit",
    "vision": "PIL",
    "tune": "optuna",
    "onnx": "onnx",
    "baselines": "statsforecast",
}
# Norm-relative error a healthy kernel stays far below; a miscompiled one does not.
TOLERANCE = {"float32": 1e-3, "bfloat16": 3e-2}


def doctor() -> int:
    """Show versions and devices, and check every kernel backend numerically on this machine."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(f"Python {platform.python_version()} on {platform.platform()}")
    versions = Table("package", "version", header_style="bold")
    for package in PACKAGES:
        versions.add_row(package, _version(package))
    for extra, module in EXTRAS.items():
        installed = importlib.util.find_spec(module) is not None
        versions.add_row(f"extra \\[{extra}]", "installed" if installed else f"pip install 'xlstm-apps\\[{extra}]'")
    console.print(versions)
    console.print(f"devices: {', '.join(_devices())}")
    logging.getLogger("xlstm_apps").setLevel(logging.WARNING)  # the table names the backends already

    checks = Table("operation", "backend", "device", "result", header_style="bold")
    failed = 0
    for operation, backend, device, result in smoke_tests():
        failed += result.startswith("FAILED")
        checks.add_row(operation, backend, device, result)
    console.print(checks)
    console.print("all well" if not failed else f"{failed} check(s) failed: please report the lines above")
    return 1 if failed else 0


def smoke_tests() -> list[tuple[str, str, str, str]]:
    """Run each operation forward and backward on each backend and compare with the float64 reference.

    Returns:
        Rows of operation, backend, device and result; the result starts with `ok`, `FAILED` or `not here`.
    """
    import torch

    from xlstm_apps.kernels import backends

    rows = []
    for name, status in backends().items():
        device = "cuda" if torch.cuda.is_available() else "cpu"
        for operation, (_, dtype) in OPERATIONS.items():
            if not status.available:
                rows.append((operation, name, "", f"not here: {status.detail}"))
                continue
            try:
                error = _relative_error(operation, name, device)
                result = f"ok, error {error:.0e}" if error < TOLERANCE[dtype] else f"FAILED, error {error:.1e}"
            except Exception as problem:  # a kernel may fail in any way, and the other checks still matter
                result = f"FAILED: {' '.join(str(problem).split())[:200]}"
            rows.append((operation, name, device, result))
    return rows


def _relative_error(operation: str, backend: str, device: str) -> float:
    import torch

    run, name = OPERATIONS[operation]
    dtype = getattr(torch, name)
    values = zip(run(backend, device, dtype, dtype), _truth(operation), strict=True)
    return float(torch.stack([(value.cpu().double() - true).norm() / true.norm() for value, true in values]).max())


@cache
def _truth(operation: str) -> list[Any]:
    import torch

    run, name = OPERATIONS[operation]
    return run("reference", "cpu", torch.float64, getattr(torch, name))


def _run_mlstm(backend: str, *where: Any, length: int = 100, key: int = 16, value: int = 32) -> list[Any]:
    from xlstm_apps.kernels import mlstm

    shapes = [(2, length, 2, key)] * 2 + [(2, length, 2, value)] + [(2, length, 2)] * 2
    return _values_and_gradients(lambda *x: mlstm(*x, backend=backend), shapes, *where)


def _run_slstm(backend: str, *where: Any) -> list[Any]:
    from xlstm_apps.kernels import rnn

    shapes = [(2, 50, 4, 2, 16), (4, 2, 16, 16), (4, 2, 16)]
    # Recurrent weights of this size keep the recurrence from being chaotic, which would magnify rounding.
    return _values_and_gradients(lambda g, r, b: rnn(g, r * 0.25, b, cell="slstm", backend=backend), shapes, *where)


def _values_and_gradients(
    op: Callable[..., Any], shapes: list[tuple[int, ...]], device: str, dtype: Any, rounded_to: Any
) -> list[Any]:
    import torch

    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(*shape, generator=generator).to(rounded_to) for shape in shapes]
    inputs = [x.to(device=device, dtype=dtype).requires_grad_() for x in drawn]
    h = op(*inputs)
    return [h.detach(), *torch.autograd.grad(h.sum(), inputs)]


# The wide one takes the matrix units through another set of kernels: what fits into a small head need not fit there.
OPERATIONS: dict[str, tuple[Callable[..., list[Any]], str]] = {
    "mlstm": (_run_mlstm, "float32"),
    "mlstm, bf16, heads of 256": (partial(_run_mlstm, length=300, key=256, value=256), "bfloat16"),
    "rnn slstm": (_run_slstm, "float32"),
}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _devices() -> list[str]:
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return [f"{torch.get_num_threads()} CPU threads", *gpus]
