"""What this machine can run: versions, devices, kernel backends, and a numeric check of each."""

import importlib.metadata
import importlib.util
import logging
import platform
from collections.abc import Callable
from typing import Any

PACKAGES = ("xlstm-apps", "torch", "triton", "lightning", "numpy", "pandas", "polars")
EXTRAS = {"bio": "Bio", "chem": "rdkit", "vision": "PIL", "tune": "optuna", "onnx": "onnx"}
# Norm-relative error a healthy float32 kernel stays far below; a miscompiled one does not.
TOLERANCE = 1e-3


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
        device = "cuda" if name == "triton" or torch.cuda.is_available() else "cpu"
        for operation, run in {"mlstm": _run_mlstm, "rnn slstm": _run_slstm}.items():
            if not status.available:
                rows.append((operation, name, "", f"not here: {status.detail}"))
                continue
            try:
                error = _relative_error(run, name, device)
                result = f"ok, error {error:.0e}" if error < TOLERANCE else f"FAILED, error {error:.1e}"
            except Exception as problem:  # a kernel may fail in any way, and the other checks still matter
                result = f"FAILED: {' '.join(str(problem).split())[:200]}"
            rows.append((operation, name, device, result))
    return rows


def _relative_error(run: Callable[[str, Any], list[Any]], backend: str, device: str) -> float:
    import torch

    values = run(backend, torch.empty(0, device=device, dtype=torch.float32))
    truth = run("reference", torch.empty(0, device="cpu", dtype=torch.float64))
    errors = [(v.cpu().double() - t).norm() / t.norm() for v, t in zip(values, truth, strict=True)]
    return float(torch.stack(errors).max())


def _run_mlstm(backend: str, like: Any) -> list[Any]:
    from xlstm_apps.kernels import mlstm

    shapes = [(2, 100, 2, 16)] * 2 + [(2, 100, 2, 32)] + [(2, 100, 2)] * 2
    return _values_and_gradients(lambda *x: mlstm(*x, backend=backend), shapes, like)


def _run_slstm(backend: str, like: Any) -> list[Any]:
    from xlstm_apps.kernels import rnn

    shapes = [(2, 50, 4, 2, 16), (4, 2, 16, 16), (4, 2, 16)]
    # Recurrent weights of this size keep the recurrence from being chaotic, which would magnify rounding.
    return _values_and_gradients(lambda g, r, b: rnn(g, r * 0.25, b, cell="slstm", backend=backend), shapes, like)


def _values_and_gradients(op: Callable[..., Any], shapes: list[tuple[int, ...]], like: Any) -> list[Any]:
    import torch

    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(*s, generator=generator, dtype=torch.float64).to(like).requires_grad_() for s in shapes]
    h = op(*inputs)
    return [h.detach(), *torch.autograd.grad(h.square().sum(), inputs)]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _devices() -> list[str]:
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return [f"{torch.get_num_threads()} CPU threads", *gpus]
