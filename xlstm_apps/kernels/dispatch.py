"""Which implementation of an operation runs: what this machine has, what the caller asked for, and why."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import ModuleType
from typing import TypeVar

import torch
from torch import Tensor

NAMES = ("reference", "torch", "triton")
OPERATIONS = ("mlstm", "rnn", "conv", "conv.grid", "norm", "norm.features")
ENVIRONMENT_VARIABLE = "XLSTM_APPS_BACKEND"

Function = TypeVar("Function")

logger = logging.getLogger("xlstm_apps")
_logged: set[tuple[str, str, str]] = set()
_modules: dict[str, ModuleType] = {}


@dataclass(frozen=True)
class BackendStatus:
    """Whether one backend works on this machine."""

    name: str
    """`reference`, `torch` or `triton`."""
    available: bool
    """True if it can run here."""
    detail: str
    """What it is for, or why it is not available."""


def backends() -> dict[str, BackendStatus]:
    """Backends by name, with the reason where one does not work on this machine."""
    reason = next(filter(None, map(_triton_missing, OPERATIONS)), None)
    if reason is None:
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "the interpreter, for tests"
        triton = BackendStatus("triton", True, f"GPU kernels, on {device}")
    else:
        triton = BackendStatus("triton", False, reason)
    return {
        "reference": BackendStatus("reference", True, "the recurrence step by step, on any device; slow"),
        "torch": BackendStatus("torch", True, "plain torch, on any device"),
        "triton": triton,
    }


def choose(op: str, backend: str, args: tuple[object, ...], options: dict[str, object]) -> ModuleType:
    """Backend module for one call.

    `auto` takes Triton for CUDA tensors where it can do the job, torch otherwise. A backend asked for by name is used
    or refused, never replaced.

    Args:
        op: Subpackage, one of `OPERATIONS`.
        backend: What the caller asked for; the environment variable XLSTM_APPS_BACKEND goes before it.
        args: Positional arguments of the call, tensors first.
        options: Its keyword arguments.

    Raises:
        ValueError: The backend is unknown, not available here, or cannot take this call.
    """
    from_environment = _environment_backend()
    name = from_environment or backend
    if name not in (*NAMES, "auto"):
        origin = f"{ENVIRONMENT_VARIABLE}={name}" if from_environment else f"backend={name!r}"
        raise ValueError(f"unknown backend ({origin}): choose auto, {', '.join(NAMES)}")
    if name == "auto":
        name, reason, level = _automatic(op, args, options)
    else:
        _require(op, name, args, options)
        origin = ENVIRONMENT_VARIABLE if from_environment else "the caller"
        reason, level = f"asked for by {origin}", logging.INFO
    if not torch.compiler.is_compiling():
        _log_once(op, name, reason, level)
    return _module(op, name)


def observed(tensors: tuple[Tensor, ...]) -> bool:
    """Whether something may want to see a registered operator: a compiler, a dispatch mode, a subclass of tensors.

    Otherwise the dispatcher is left out: its bookkeeping takes longer than small kernels run.
    """
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() > 0:
        return True
    return not all(type(x) is Tensor or type(x) is torch.nn.Parameter for x in tensors)


def full_precision(tensor: Tensor) -> AbstractContextManager[object]:
    """Context in which autocast leaves the arithmetic of a recurrence alone; its inputs may well be half precision."""
    device = tensor.device.type
    if torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


def _automatic(op: str, args: tuple[object, ...], options: dict[str, object]) -> tuple[str, str, int]:
    tensor = args[0]
    assert isinstance(tensor, Tensor)
    if tensor.device.type != "cuda":
        return "torch", f"{tensor.device.type} tensors", logging.INFO
    obstacle = _obstacle(op, "triton", args, options)
    if obstacle is None:
        return "triton", "CUDA tensors", logging.INFO
    return "torch", f"Triton kernels not used: {obstacle}", logging.WARNING


def _require(op: str, name: str, args: tuple[object, ...], options: dict[str, object]) -> None:
    obstacle = _obstacle(op, name, args, options)
    if obstacle is not None:
        raise ValueError(f"backend {name!r} cannot run this {op}: {obstacle}; backend='auto' picks one that can")


def _obstacle(op: str, name: str, args: tuple[object, ...], options: dict[str, object]) -> str | None:
    """Reason why a backend cannot take a call, or None. Only the kernels refuse any."""
    if name != "triton":
        return None
    tensor = args[0]
    assert isinstance(tensor, Tensor)
    return _triton_missing(op, tensor.device.type) or _module(op, name).unsupported(*args, **options)


def _constant_in_graphs(function: Function) -> Function:
    """`torch.compiler.assume_constant_result`, which would import the whole compiler (seconds) just to mark this."""
    function._dynamo_marked_constant = True  # pyright: ignore[reportAttributeAccessIssue]
    return function


@_constant_in_graphs
def _environment_backend() -> str:
    return os.environ.get(ENVIRONMENT_VARIABLE, "").strip().lower()


@functools.cache  # looking a module up takes longer than a small kernel runs
def _not_installed(op: str) -> str | None:
    if importlib.util.find_spec("triton") is None:
        return "the package triton is not installed"
    if importlib.util.find_spec(f"xlstm_apps.kernels.{op}.triton") is None:
        return f"there is no Triton kernel for {op} in this version"
    return None


@_constant_in_graphs
def _triton_missing(op: str, device: str | None = None) -> str | None:
    """Reason why Triton kernels cannot run on this machine, or on tensors of this type of device. Never imports triton.

    A tensor on a GPU shows that there is one; asking for one takes as long as a small kernel.
    """
    absent = _not_installed(op)
    if absent is not None or device == "cuda":
        return absent
    if os.environ.get("TRITON_INTERPRET", "0").lower() in {"1", "true", "yes", "on", "y"}:
        return None
    if not torch.cuda.is_available():
        return "no CUDA device (TRITON_INTERPRET=1 runs the kernels on the CPU, for tests)"
    return None if device is None else f"its tensors are on {device}; the kernels take those on CUDA"


def _module(op: str, name: str) -> ModuleType:
    _load(op, name)
    return _modules[f"{op}.{name}"]


@_constant_in_graphs
def _load(op: str, name: str) -> None:
    # Imported on demand: Triton's must not load where triton is absent, and an error inside it must not be hidden.
    # In a table of our own, because torch.compile follows a dictionary but not an import.
    if f"{op}.{name}" not in _modules:
        _modules[f"{op}.{name}"] = importlib.import_module(f"xlstm_apps.kernels.{op}.{name}")


def _log_once(op: str, name: str, reason: str, level: int) -> None:
    if (op, name, reason) not in _logged:
        _logged.add((op, name, reason))
        logger.log(level, "%s: backend %s (%s)", op, name, reason)
