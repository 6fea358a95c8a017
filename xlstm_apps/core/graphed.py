"""Passes, and losses with their gradients, as CUDA graphs: small networks take longer to launch than to compute."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

import torch
from torch import Tensor, nn

Result = TypeVar("Result")

_recording = ContextVar("recording", default=False)


def recording() -> bool:
    """Whether what runs is captured, or tried before that: later, Python takes no time for its launches."""
    return _recording.get()


@contextmanager
def _told() -> Iterator[None]:
    token = _recording.set(True)
    try:
        yield
    finally:
        _recording.reset(token)


def capture(call: Callable[[], Result]) -> Callable[[], Result]:
    """A call without gradients, such as `lambda: model(x)` in inference mode, as a CUDA graph.

    Args:
        call: Computes on a GPU, from tensors that stay where they are in memory, and never looks at values. Under
            autocast it has the cache of weights off.

    Returns:
        What replays it; each time the same tensors are given, with the new values in them.
    """
    with _told():
        torch.cuda.synchronize()
        with torch.cuda.stream(torch.cuda.Stream()):  # what is made at first calls is not to become part of the graph
            for _ in range(2):
                call()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = call()

    def replay() -> Result:
        graph.replay()
        return result

    return replay


class GraphedLoss:
    """A loss that a GPU computes, with its gradient, as two CUDA graphs: captured at the first call, then replayed.

    On a CPU, and for tensors that are not shaped as those of the first call, it is computed as it is; so it is where
    the graphs would not fit into memory beside what else is there. Random numbers are drawn anew at every replay. A
    replay overwrites the gradients of the one before: each is to be used, or copied, before the next call.

    Args:
        network: Holds all parameters and buffers that `loss` needs, which stay where they are in memory.
        loss: From tensors by name, which need no gradients, to a tensor. What it does must not depend on their values,
            and it recomputes nothing in its backward.
    """

    def __init__(self, network: nn.Module, loss: Callable[..., Tensor]) -> None:
        self._network, self._loss = network, loss
        self._shapes: dict[str, torch.Size] | None = None
        self._replay: Callable[..., Tensor] | None = None

    @property
    def captured(self) -> bool:
        """Whether there are graphs."""
        return self._replay is not None

    def __call__(self, **tensors: Tensor) -> Tensor:
        """The loss, for `backward`."""
        device = next(iter(tensors.values())).device
        if device.type != "cuda":
            return self._loss(**tensors)
        shapes = {name: x.shape for name, x in tensors.items()}
        if self._shapes is None:
            self._shapes = shapes
            # Capturing draws random numbers; a resumed run captures at another step than the one that was stopped.
            with torch.random.fork_rng([device]), _told():
                self._capture(device, tensors)
        if self._replay is None or shapes != self._shapes:
            return self._loss(**tensors)
        return self._replay(*tensors.values())

    def _capture(self, device: torch.device, tensors: dict[str, Tensor]) -> None:
        buffers = {name: x.clone() for name, x in self._network.named_buffers()}
        half, kind = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
        # What autocast keeps of a weight would be that of the capture for ever.
        with torch.autocast("cuda", kind, half, cache_enabled=False), warnings.catch_warnings():
            # torch keeps the graph of its own trial runs, which were on another stream, and then warns about it.
            warnings.filterwarnings("ignore", message="The AccumulateGrad node's stream does not match")
            if self._fits(device, tensors):
                sample = tuple(x.clone() for x in tensors.values())
                called = _Called(self._network, self._loss, [*tensors])
                torch.cuda.make_graphed_callables(called, sample, allow_unused_input=True)
                self._replay = called
        for name, x in self._network.named_buffers():  # the runs before the capture moved batch statistics
            x.copy_(buffers[name])

    def _fits(self, device: torch.device, tensors: dict[str, Tensor]) -> bool:
        """Whether there is room for what a step needs twice more: for torch's trial runs, and for the graphs."""
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        weights = [p for p in self._network.parameters() if p.requires_grad]
        torch.autograd.grad(self._loss(**tensors).sum(), weights, allow_unused=True)
        need = torch.cuda.max_memory_allocated(device) - before
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info(device)[0] > 2 * need


class _Called(nn.Module):
    """A loss as a module of tensors, the form that can be captured."""

    def __init__(self, network: nn.Module, loss: Callable[..., Tensor], names: list[str]) -> None:
        super().__init__()
        self.network, self._names, self._loss = network, names, loss

    def forward(self, *tensors: Tensor) -> Tensor:
        return self._loss(**dict(zip(self._names, tensors, strict=True)))
