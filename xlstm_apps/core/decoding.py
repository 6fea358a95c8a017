"""Token after token, as plain calls or as replays of a CUDA graph.

A step of a language model is many small kernels, each shorter than the time Python needs to launch it. Its shapes never
change and its state is written in place, so one step can be recorded as a CUDA graph, which then runs without Python.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

import torch
from torch import Tensor

from xlstm_apps.core.state import xLSTMState

WARM_UP = 2
"""Steps before one is recorded: the first of a kind compiles kernels, the next goes the way all others will."""
LEAST_REPLAYS = 8
"""Replays from which recording a graph, about as long as two steps, is worth it."""
ENDS_EVERY = 8
"""Replays between two looks at whether all rows have met their end: looking waits for the device."""

logger = logging.getLogger("xlstm_apps")


class Model(Protocol):
    """What a generation step needs of a language model."""

    def step(self, ids: Tensor, state: xLSTMState, *, inplace: bool) -> tuple[Tensor, xLSTMState]: ...


class GenerationStep:
    """The next token of every row, with all that changes kept in the same tensors: a call takes and returns nothing.

    Args:
        model: The language model, in evaluation mode.
        token: [B] last tokens; overwritten by every call.
        state: State before these tokens; overwritten by every call.
        eos: Tokens [N] that end a text.
        sampling: Logits [B, V] to tokens [B].
    """

    def __init__(
        self, model: Model, token: Tensor, state: xLSTMState, eos: Tensor, sampling: Callable[[Tensor], Tensor]
    ) -> None:
        self.model, self.token, self.state, self.eos, self.sampling = model, token, state, eos, sampling
        self.going = ~self._at_end(token)

    def __call__(self) -> None:
        logits, _ = self.model.step(self.token, self.state, inplace=True)
        self.token.copy_(self.sampling(logits))
        self.going &= ~self._at_end(self.token)

    def _at_end(self, token: Tensor) -> Tensor:
        return (token.unsqueeze(-1) == self.eos).any(-1)  # torch.isin may wait for the device


def check_cuda_graph(cuda_graph: bool | None, device: torch.device) -> None:
    """Refuse a graph where there can be none, with a ValueError."""
    if cuda_graph and device.type != "cuda":
        raise ValueError(f"cuda_graph=True needs a model on CUDA, but it is on {device}; leave cuda_graph out")


def decode(
    step: GenerationStep,
    steps: int,
    cuda_graph: bool | None,
    generators: Sequence[torch.Generator] = (),
) -> Tensor:
    """Tokens [B, at most steps], fewer once every row has met its end.

    Args:
        step: Holds the first token already.
        steps: Most tokens, at least 1.
        cuda_graph: As in `xLSTMLanguageModel.generate`.
        generators: Sources of randomness the step draws from, other than the default one.

    Raises:
        RuntimeError: The step cannot be recorded, and `cuda_graph` is True.
    """
    tokens = [step.token.clone()]
    run: Callable[[], None] = step
    look_every = 1
    record_at = 1 + WARM_UP
    if not (worth_recording(step, steps - record_at) if cuda_graph is None else cuda_graph):
        record_at = steps
    while len(tokens) < steps:
        if len(step.eos) and len(tokens) % look_every == 0 and not step.going.any():
            break
        if len(tokens) == record_at:
            try:
                run = record_cuda_graph(step, generators)
                look_every = ENDS_EVERY
            except RuntimeError as error:
                if cuda_graph:
                    raise
                reason = str(error).strip().split("\n")[0]
                logger.warning("generate: without a CUDA graph, step by step (it cannot be recorded: %s)", reason)
        run()
        tokens.append(step.token.clone())
    return torch.stack(tokens, 1)


def worth_recording(step: GenerationStep, replays: int) -> bool:
    """Whether this many steps go faster as replays."""
    return step.token.is_cuda and replays >= LEAST_REPLAYS


def record_cuda_graph(step: GenerationStep, generators: Sequence[torch.Generator]) -> Callable[[], None]:
    """Record a call of `step`, without running it, and return its replay.

    By hand rather than with `torch.cuda.graph`, which collects garbage and empties caches first: longer than a text.
    """
    device = step.token.device
    with torch.cuda.device(device):
        graph = torch.cuda.CUDAGraph()
        for generator in generators:
            graph.register_generator_state(generator)
        # A recording that breaks leaves the generators as if it went on, unable to draw: they would need new states.
        drawing = (torch.cuda.default_generators[torch.cuda.current_device()], *generators)
        spare = [(generator, generator.clone_state()) for generator in drawing]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            # Other threads, such as one that pins memory, may go on calling CUDA.
            graph.capture_begin(capture_error_mode="thread_local")
            try:
                try:
                    step()
                except BaseException:
                    with suppress(RuntimeError):  # that the recording is broken, after what broke it
                        graph.capture_end()
                    raise
                graph.capture_end()
            except BaseException:
                for generator, state in spare:
                    generator.graphsafe_set_state(state)
                raise
        torch.cuda.current_stream().wait_stream(stream)
    return graph.replay
