"""What this machine can run: versions, devices, kernel backends, and a numeric check of each."""

import importlib.metadata
import importlib.util
import logging
import platform
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

# It has to work where something is missing, so it needs none of these itself, and the lists stand here.
PACKAGES = (
    "xlstm-apps", "torch", "triton", "lightning", "numpy", "scipy", "scikit-learn", "pandas", "polars", "safetensors",
    "huggingface-hub", "jsonargparse", "pyyaml", "rich", "jinja2", "plotly", "lazy-loader",
)  # fmt: skip
EXTRAS = {
    "baselines": "statsforecast",
    "bio": "Bio",
    "chem": "rdkit",
    "fcd": "fcd_torch",
    "onnx": "onnx",
    "selfies": "selfies",
    "triton": "triton",
    "tune": "optuna",
    "vision": "PIL",
}
NEEDLESS = ("xlstm-apps", "triton")  # it runs from its folder, too, and without GPU kernels
MISSING = "not installed"
# Norm-relative error a healthy kernel stays far below; a miscompiled one does not.
TOLERANCE = {"float32": 1e-3, "bfloat16": 3e-2}


def doctor() -> int:
    """Show versions and devices, and check every kernel backend numerically on this machine."""
    print(f"Python {platform.python_version()} on {platform.platform()}\n")
    versions = {package: _version(package) for package in PACKAGES}
    _table(("package", "version"), list(versions.items()))
    found = {extra: importlib.util.find_spec(module) is not None for extra, module in EXTRAS.items()}
    hints = [(extra, "installed" if here else f"pip install 'xlstm-apps[{extra}]'") for extra, here in found.items()]
    _table(("extra", "state"), hints)
    missing = [name for name, version in versions.items() if version == MISSING and name not in NEEDLESS]
    if missing:
        print(f"missing, and needed: pip install {' '.join(missing)}")
    if "torch" in missing:
        print("nothing can be checked without torch")
        return 1
    print(f"devices: {', '.join(_devices())}\n")
    logging.getLogger("xlstm_apps").setLevel(logging.WARNING)  # the table names the backends already
    checks = smoke_tests()
    _table(("operation", "backend", "device", "result"), checks)
    failed = sum(result.startswith("FAILED") for *_, result in checks)
    if failed:
        print(f"{failed} check(s) failed: please report the lines above")
    elif not missing:
        print("all well")
    return 1 if failed or missing else 0


def _table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    for row in (headings, *rows):
        print("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    print()


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


def _run_conv(backend: str, *where: Any) -> list[Any]:
    from xlstm_apps.kernels import causal_conv1d

    shapes = [(2, 100, 48), (4, 48), (48,), (2, 3, 48)]
    return _values_and_gradients(lambda *x: causal_conv1d(*x, activation="silu", backend=backend), shapes, *where)


def _run_norm(backend: str, *where: Any) -> list[Any]:
    from xlstm_apps.kernels import gated_norm

    shapes = [(2, 100, 2, 48), (2, 100, 96), (96,), (96,), (2, 100, 96), (96,)]
    return _values_and_gradients(
        lambda *x: gated_norm(*x, eps=1e-5, activation="silu", backend=backend), shapes, *where
    )


def _run_conv2d(backend: str, *where: Any) -> list[Any]:
    from xlstm_apps.kernels import depthwise_conv2d

    shapes = [(2, 70, 48), (48, 1, 3, 3), (48,)]
    return _values_and_gradients(
        lambda *x: depthwise_conv2d(*x, (7, 10), activation="silu", backend=backend), shapes, *where
    )


def _run_feature_norm(backend: str, *where: Any) -> list[Any]:
    from xlstm_apps.kernels import feature_norm

    shapes = [(2, 100, 96), (96,), (96,)]
    return _values_and_gradients(lambda *x: feature_norm(*x, eps=1e-5, centred=True, backend=backend), shapes, *where)


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
    "causal_conv1d, bf16": (_run_conv, "bfloat16"),
    "depthwise_conv2d, bf16": (_run_conv2d, "bfloat16"),
    "gated_norm, bf16": (_run_norm, "bfloat16"),
    "feature_norm": (_run_feature_norm, "float32"),
}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return MISSING


def _devices() -> list[str]:
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    threads = torch.get_num_threads()
    return [f"{threads} CPU thread{'s'[: threads > 1]}", *gpus]
