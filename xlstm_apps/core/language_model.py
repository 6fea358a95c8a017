"""Tokens in, scores of the next token out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from xlstm_apps.core.backbone import xLSTMBackbone
from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.core.decoding import GenerationStep, check_cuda_graph, decode
from xlstm_apps.core.initialization import small_init_
from xlstm_apps.core.layers import soft_cap
from xlstm_apps.core.pretrained import PretrainedMixin
from xlstm_apps.core.sampling import Constraint, check_sampling, sample
from xlstm_apps.core.state import xLSTMState

LARGE_SOFT_CAP = 30.0


class xLSTMLanguageModel(nn.Module, PretrainedMixin):
    """Embedding, backbone, linear head.

    Args:
        backbone: The stack between embedding and head.
        vocab_size: Number of token ids.
        tie_weights: Let the head share the weights of the embedding.
        logit_soft_cap: Squash logits into +-logit_soft_cap by tanh; 0 = off. None: 30 for "xlstm-large", else off.
        embedding_dropout: Probability of dropping an element of an embedding.
        eos_id: Token, or tokens, at which `generate` ends a text.
        pad_id: Token that `generate` puts after the end of shorter texts. None: the first `eos_id`, else 0.
    """

    def __init__(
        self,
        backbone: xLSTMConfig,
        vocab_size: int,
        tie_weights: bool = False,
        logit_soft_cap: float | None = None,
        embedding_dropout: float = 0.0,
        eos_id: int | list[int] | None = None,
        pad_id: int | None = None,
    ) -> None:
        super().__init__()
        if vocab_size < 1:
            raise ValueError(f"vocab_size={vocab_size} must be at least 1")
        if logit_soft_cap is None:
            logit_soft_cap = LARGE_SOFT_CAP if backbone.family == "xlstm-large" else 0.0
        self.config = backbone
        self.vocab_size, self.logit_soft_cap, self.eos_id, self.pad_id = vocab_size, logit_soft_cap, eos_id, pad_id
        self.embedding = nn.Embedding(vocab_size, backbone.embedding_dim)
        self.dropout = nn.Dropout(embedding_dropout)
        self.backbone = self.build_backbone(backbone)
        self.head = nn.Linear(backbone.embedding_dim, vocab_size, bias=False)
        small_init_(self.embedding.weight, backbone.embedding_dim)
        small_init_(self.head.weight, backbone.embedding_dim)
        if tie_weights:
            self.head.weight = self.embedding.weight

    def build_backbone(self, config: xLSTMConfig) -> xLSTMBackbone:
        """The stack between embedding and head; a subclass may put another one there, with the same calls."""
        return xLSTMBackbone(config)

    def forward(
        self,
        ids: Tensor,
        state: xLSTMState | None = None,
        *,
        return_state: bool = False,
        cu_seqlens: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, xLSTMState]:
        """Token ids [B, T] -> logits [B, T, V] of the token after each; the other arguments as in `xLSTMBackbone`."""
        x = self.dropout(self.embedding(ids))
        positions = self.count_positions(ids, state, cu_seqlens) if positions is None else positions
        out = self.backbone(x, state, return_state=return_state, cu_seqlens=cu_seqlens, **_given(positions))
        return (self.logits(out[0]), out[1]) if return_state else self.logits(out)

    def step(
        self,
        ids: Tensor,
        state: xLSTMState | None = None,
        *,
        inplace: bool = False,
        positions: Tensor | None = None,
    ) -> tuple[Tensor, xLSTMState]:
        """One token per row: ids [B] -> logits [B, V] and the next state; the rest as in `xLSTMBackbone.step`."""
        x = self.dropout(self.embedding(ids))
        if positions is None:
            counted = self.count_positions(ids.unsqueeze(-1), state)
            positions = None if counted is None else counted.squeeze(-1)
        x, state = self.backbone.step(x, state, inplace=inplace, **_given(positions))
        return self.logits(x), state

    def count_positions(
        self, ids: Tensor, state: xLSTMState | None = None, cu_seqlens: Tensor | None = None
    ) -> Tensor | None:
        """Where tokens [B, T] stand that came without positions; None leaves the counting to the backbone. For a
        subclass whose positions begin again at some token."""
        return None

    def initial_state(self, batch_size: int) -> xLSTMState:
        """The state before the first token."""
        return self.backbone.initial_state(batch_size)

    def logits(self, x: Tensor) -> Tensor:
        """Head and soft cap on features [..., E], in at least single precision."""
        logits = self.head(x)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return soft_cap(logits, self.logit_soft_cap) if self.logit_soft_cap else logits

    @torch.no_grad()
    def generate(
        self,
        ids: Tensor | Sequence[Tensor],
        max_new_tokens: int,
        *,
        lengths: Sequence[int] | Tensor | None = None,
        positions: Tensor | Sequence[Tensor] | None = None,
        state: xLSTMState | None = None,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        eos_id: int | list[int] | None = None,
        pad_id: int | None = None,
        generator: torch.Generator | None = None,
        cuda_graph: bool | None = None,
        constraint: Constraint | None = None,
    ) -> Tensor | list[Tensor]:
        """Continue prompts, of any lengths in one batch; every row is what it would be alone.

        Args:
            ids: Prompts [B, T]; or a list of 1-D tensors of any lengths; or one 1-D tensor.
            max_new_tokens: Most tokens to add.
            lengths: Lengths of the prompts where `ids` is a padded [B, T]; what stands behind them is not read.
            positions: Where the tokens of the prompts stand, in the form of `ids`, for a backbone with `rotary_base`;
                what is added counts on from them. None counts from 0, or on from the state.
            state: State to begin from, with a row for each prompt or a single one for all.
            temperature: 0 takes the most probable token, 1 draws as the model says.
            top_k: Draw among the k most probable tokens only.
            top_p: Draw among the most probable tokens that together reach this probability only.
            eos_id: Instead of the model's own `eos_id`.
            pad_id: Instead of the model's own `pad_id`.
            generator: Source of randomness, for reproducible draws.
            cuda_graph: Record one step as a CUDA graph and replay it for every token: the same tokens, without the
                time Python takes. None: on CUDA, where there are tokens enough; True: or an error; False: never.
            constraint: Chooses the tokens from what may be drawn, so that a text keeps to a form; without CUDA graphs.

        Returns:
            Prompts and continuations in the form of `ids`: a tensor padded behind the shorter rows, or a list. A text
            ends with its `eos_id`.

        Raises:
            ValueError: An empty prompt, ids outside the vocabulary, sampling options that contradict each other, or
                `cuda_graph=True` where the model is not on CUDA.
        """
        check_sampling(temperature, top_k, top_p)
        if max_new_tokens < 0:
            raise ValueError(f"max_new_tokens={max_new_tokens} must not be negative")
        sampling = partial(sample, temperature=temperature, top_k=top_k, top_p=top_p, generator=generator)
        check_cuda_graph(cuda_graph, self.embedding.weight.device)
        prompts = self._split_prompts(ids, lengths)
        if constraint is not None:
            if cuda_graph:
                raise ValueError("cuda_graph=True excludes a constraint, which Python computes; leave one of them out")
            cuda_graph = False
            constraint.begin(prompts, max_new_tokens)
            sampling = partial(constraint.choose, draw=sampling)
        eos_id = self.eos_id if eos_id is None else eos_id
        eos = torch.tensor([] if eos_id is None else eos_id, dtype=torch.long, device=prompts[0].device).reshape(-1)
        if pad_id is None:
            pad_id = self.pad_id if self.pad_id is not None else int(eos[0]) if len(eos) else 0

        training = self.training
        self.eval()
        try:
            new = prompts[0].new_empty(len(prompts), 0)
            if max_new_tokens > 0:
                x, state = self._read_prompts(prompts, state, self._split_positions(positions, prompts))
                step = GenerationStep(self, sampling(self.logits(x)), state, eos, sampling)
                new = decode(step, max_new_tokens, cuda_graph, () if generator is None else (generator,))
        finally:
            self.train(training)
        ended = torch.isin(new, eos).cumsum(1)
        kept = (ended - torch.isin(new, eos).long() == 0).sum(1).tolist()  # up to the first end, that one included
        rows = [torch.cat([prompt, row[:n]]) for prompt, row, n in zip(prompts, new, kept, strict=True)]
        if not isinstance(ids, Tensor):
            return rows
        return rows[0] if ids.dim() == 1 else pad_sequence(rows, batch_first=True, padding_value=pad_id)

    def _split_prompts(self, ids: Tensor | Sequence[Tensor], lengths: Sequence[int] | Tensor | None) -> list[Tensor]:
        if isinstance(ids, Tensor) and ids.dim() == 2:
            sizes = [ids.shape[1]] * len(ids) if lengths is None else [int(n) for n in lengths]
            if len(sizes) != len(ids) or any(n > ids.shape[1] for n in sizes):
                raise ValueError(f"lengths {sizes} do not fit prompts of shape {[*ids.shape]}")
            prompts = [row[:n] for row, n in zip(ids, sizes, strict=True)]
        elif lengths is not None:
            raise ValueError("lengths belong to a padded [batch, time] tensor of prompts only")
        else:
            prompts = [ids] if isinstance(ids, Tensor) else list(ids)
        device = self.embedding.weight.device
        prompts = [prompt.to(device) for prompt in prompts]
        if not prompts or any(prompt.dim() != 1 or prompt.numel() == 0 for prompt in prompts):
            raise ValueError("every prompt needs at least one token: give [batch, time], or a list of 1-D tensors")
        if any(prompt.min() < 0 or prompt.max() >= self.vocab_size for prompt in prompts):
            raise ValueError(f"a prompt holds ids outside 0 to {self.vocab_size - 1}")
        return prompts

    def _split_positions(
        self, positions: Tensor | Sequence[Tensor] | None, prompts: list[Tensor]
    ) -> list[Tensor] | None:
        if positions is None:
            return None
        rows = [positions] if isinstance(positions, Tensor) and positions.dim() == 1 else list(positions)
        if len(rows) != len(prompts) or any(len(p) < len(q) for p, q in zip(rows, prompts, strict=True)):
            raise ValueError("positions need the form of the prompts: one for every token")
        return [row[: len(prompt)].to(prompt.device) for row, prompt in zip(rows, prompts, strict=True)]

    def _read_prompts(
        self, prompts: list[Tensor], state: xLSTMState | None, positions: list[Tensor] | None = None
    ) -> tuple[Tensor, xLSTMState]:
        """Features [B, E] of the last token of each prompt, and the state behind it.

        Read in one pass up to the end of the shortest prompt, without it to the end of the next, and so on: no padding
        ever enters the state.
        """
        if state is not None and state.batch_size == 1 and len(prompts) > 1:
            state = state.select([0] * len(prompts))
        ids = pad_sequence(prompts, batch_first=True)
        places = None if positions is None else pad_sequence(positions, batch_first=True)
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=ids.device)
        rows, start = torch.arange(len(prompts), device=ids.device), 0
        order: list[Tensor] = []
        features: list[Tensor] = []
        states: list[xLSTMState] = []
        for stop in sorted({len(prompt) for prompt in prompts}):
            part = ids[rows, start:stop]
            given = self.count_positions(part, state) if places is None else places[rows, start:stop]
            x, last = self.backbone(self.embedding(part), state, return_state=True, **_given(given))
            ended = lengths[rows] == stop
            order.append(rows[ended])
            features.append(x[ended, -1])
            states.append(last.select(ended))
            rows, state, start = rows[~ended], last.select(~ended), stop
        back = torch.cat(order).argsort()
        return torch.cat(features)[back], xLSTMState.concat(states).select(back)


def _given(positions: Tensor | None) -> dict[str, Tensor]:
    """Positions as an option, left out where there are none: not every backbone knows of them."""
    return {} if positions is None else {"positions": positions}
