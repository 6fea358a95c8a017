"""LSTM and Transformer language models beside the xLSTM: the same embedding, head, objectives, scoring and training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn, cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.attention.bias import causal_lower_right
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from xlstm_apps.biosequence.baselines.network_config import NetworkConfig
from xlstm_apps.biosequence.config import SequenceConfig
from xlstm_apps.biosequence.model import SequenceModel

ROTARY_BASE = 10_000.0
NORM_EPS = 1e-6


class NetworkState(NamedTuple):
    """What a causal network remembers: per layer h, c [B, D], or the keys and values [B, T, H, D] of all it read."""

    layers: tuple[tuple[Tensor, Tensor], ...]

    @property
    def batch_size(self) -> int:
        return len(self.layers[0][0])

    def select(self, rows: Sequence[int] | Tensor) -> NetworkState:
        """The rows of the batch named by index; repeats allowed."""
        index = rows if isinstance(rows, Tensor) else torch.tensor(list(rows), dtype=torch.long)
        index = index.to(self.layers[0][0].device)
        return NetworkState(tuple((a[index], b[index]) for a, b in self.layers))

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(x.nbytes for layer in self.layers for x in layer)


class NetworkModel(SequenceModel):
    """A `SequenceModel` on another stack of layers: trained, scored and saved in the same way; it does not generate.

    Args:
        sequence: Alphabet, objective, symmetry.
        backbone: Kind and widths of the layers.
    """

    def __init__(self, sequence: SequenceConfig, backbone: NetworkConfig) -> None:
        super().__init__(sequence, backbone)  # pyright: ignore[reportArgumentType]

    def build_backbone(self, config: Any) -> Any:
        return NetworkBackbone(config)

    def generate(self, *_: Any, **__: Any) -> NoReturn:
        raise ValueError("networks beside the xLSTM score and embed; to generate, train an xLSTM")


class NetworkBackbone(nn.Module):
    """Layers on a residual stream [B, T, E], with the calls of `xLSTMBackbone`."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        kind = TransformerBlock if config.family == "transformer" else LSTMBlock
        self.blocks = nn.ModuleList(kind(config) for _ in range(config.num_blocks))
        self.final_norm = nn.RMSNorm(config.embedding_dim, NORM_EPS)

    def forward(
        self,
        x: Tensor,
        state: NetworkState | None = None,
        *,
        return_state: bool = False,
        cu_seqlens: Tensor | None = None,
        until: int | None = None,
    ) -> Tensor | tuple[Tensor, NetworkState]:
        """As `xLSTMBackbone.forward`; a packed row keeps no state."""
        if (state is not None or return_state) and (self.config.direction != "causal" or cu_seqlens is not None):
            raise ValueError("only a causal network keeps a state, and not of packed rows")
        lengths = None
        if cu_seqlens is not None:
            lengths = cu_seqlens.diff().tolist()
            x = pad_sequence(list(x[0].split(lengths)), batch_first=True)
        layers = []
        for index, block in enumerate(self.blocks[:until]):
            x, last = block(x, None if state is None else state.layers[index], lengths)
            layers.append(last)
        x = self.final_norm(x) if until is None else x
        if lengths is not None:
            x = torch.cat([row[:n] for row, n in zip(x, lengths, strict=True)]).unsqueeze(0)
        return (x, NetworkState(tuple(layers))) if return_state else x

    def step(self, x: Tensor, state: NetworkState | None = None, *, inplace: bool = False) -> tuple[Tensor, Any]:
        """One time step: [B, E] -> [B, E] and the next state. There is no writing in place: a Transformer's grows."""
        if inplace:
            raise ValueError("networks beside the xLSTM have no state that can be written in place")
        y, last = cast(tuple, self(x.unsqueeze(1), state, return_state=True))
        return y.squeeze(1), last


class LSTMBlock(nn.Module):
    """x + projection(LSTM(norm(x))), with cuDNN's LSTM on a GPU."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        both = config.direction == "bidirectional"
        self.norm = nn.RMSNorm(config.embedding_dim, NORM_EPS)
        self.lstm = nn.LSTM(config.embedding_dim, config.hidden_dim, batch_first=True, bidirectional=both)
        self.proj = nn.Linear(config.hidden_dim * (1 + both), config.embedding_dim, bias=False)
        self.dropout = nn.Dropout(config.dropout)
        with torch.no_grad():  # remember at first (Gers et al. 2000): gates are input, forget, cell, output
            for name, bias in self.lstm.named_parameters():
                if name.startswith("bias_hh"):
                    bias[config.hidden_dim : 2 * config.hidden_dim] = 1.0

    def forward(
        self, x: Tensor, state: tuple[Tensor, Tensor] | None, lengths: list[int] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        kind = self.lstm.weight_hh_l0.dtype
        before = None if state is None else tuple(s.to(kind).unsqueeze(0).contiguous() for s in state)
        # Whatever autocast asks for, cuDNN's LSTM would compute in float16, where gradients of a mean over many symbols
        # vanish, and bfloat16 is not taken by it. Left alone it computes in TF32.
        with torch.autocast(x.device.type, enabled=False):
            y = self.norm(x).to(kind)
            if lengths is None or not self.lstm.bidirectional:
                y, (h, c) = self.lstm(y, before)
            else:  # the way back must begin at the end of each document, not behind its padding
                rows = pack_padded_sequence(y, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
                packed, (h, c) = self.lstm(rows)
                y = pad_packed_sequence(packed, batch_first=True)[0]
        return x + self.dropout(self.proj(y)), (h[0], c[0])


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)); PyTorch's own attention kernels."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        E, D = config.embedding_dim, config.hidden_dim  # noqa: N806
        self.num_heads, self.causal = config.num_heads, config.direction == "causal"
        self.norm, self.ffn_norm = nn.RMSNorm(E, NORM_EPS), nn.RMSNorm(E, NORM_EPS)
        self.qkv, self.out = nn.Linear(E, 3 * E, bias=False), nn.Linear(E, E, bias=False)
        self.up, self.down = nn.Linear(E, 2 * D, bias=False), nn.Linear(D, E, bias=False)
        self.dropout = nn.Dropout(config.dropout)
        for linear in (self.qkv, self.up):
            nn.init.normal_(linear.weight, std=0.02)
        for linear in (self.out, self.down):  # those that write to the residual stream (Radford et al. 2019)
            nn.init.normal_(linear.weight, std=0.02 / (2 * config.num_blocks) ** 0.5)

    def forward(
        self, x: Tensor, state: tuple[Tensor, Tensor] | None, lengths: list[int] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        q, k, v = self.qkv(self.norm(x)).unflatten(-1, (3, self.num_heads, -1)).unbind(2)
        start = 0 if state is None else state[0].shape[1]
        q, k = rotate(q, start), rotate(k, start)
        if state is not None:
            k, v = torch.cat([state[0].to(k.dtype), k], 1), torch.cat([state[1].to(v.dtype), v], 1)
        y = self._attend(*(t.transpose(1, 2) for t in (q, k, v)), lengths)
        x = x + self.dropout(self.out(y.transpose(1, 2).flatten(-2)))
        gate, up = self.up(self.ffn_norm(x)).chunk(2, dim=-1)
        return x + self.dropout(self.down(F.silu(gate) * up)), (k, v)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, lengths: list[int] | None) -> Tensor:
        """q [B, H, S, D], k and v [B, H, T, D], the S last of T steps."""
        S, T = q.shape[2], k.shape[2]  # noqa: N806
        if self.causal:  # padding stands behind the documents, where no symbol looks
            if S == T or S == 1:
                return F.scaled_dot_product_attention(q, k, v, is_causal=S == T)
            return F.scaled_dot_product_attention(q, k, v, attn_mask=causal_lower_right(S, T))
        mask = None
        if lengths is not None:
            real = torch.arange(T, device=q.device) < torch.tensor(lengths, device=q.device)[:, None]
            mask = real[:, None, None]
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def rotate(x: Tensor, start: int) -> Tensor:
    """Rotary positions (Su et al. 2021): pairs of features of [B, T, H, D] turned by angles that grow with time."""
    T, D = x.shape[1], x.shape[-1]  # noqa: N806
    speed = ROTARY_BASE ** (-torch.arange(0, D, 2, device=x.device, dtype=torch.float32) / D)
    angle = torch.arange(start, start + T, device=x.device, dtype=torch.float32)[:, None, None] * speed
    kind = torch.promote_types(x.dtype, torch.float32)
    cos, sin = angle.cos().to(kind), angle.sin().to(kind)
    a, b = x.to(kind).chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1).to(x.dtype)
