"""Parts of a block. Shapes: B batch, T time, E width of the residual stream, H heads, D head dimension."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.core.initialization import small_init_, wang_init_
from xlstm_apps.core.linear import Linear, linear
from xlstm_apps.core.packing import Packing
from xlstm_apps.kernels import causal_conv1d, feature_norm, gated_norm
from xlstm_apps.kernels.norm.api import Activation
from xlstm_apps.kernels.norm.torch import head_norm

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "silu": F.silu,
    "relu": F.relu,
    "relu^2": lambda x: F.relu(x).square(),
    "sigmoid": torch.sigmoid,
    "selu": F.selu,
}


def soft_cap(x: Tensor, cap: float) -> Tensor:
    """Squash into (-cap, cap), nearly the identity around 0."""
    return cap * torch.tanh(x / cap)


LEAST_FUSED = 2**22
"""Numbers from which a norm on a GPU is a kernel of ours: Python launches torch's in less time than that reads."""


class LayerNorm(nn.LayerNorm):
    """LayerNorm of the residual stream. By our kernel its result has the type of autocast, which the linear map behind
    it would cast to anyhow, unless it is `final`: pooling and heads get float32."""

    def __init__(self, dim: int, eps: float, bias: bool = True, final: bool = False, backend: str = "auto") -> None:
        super().__init__(dim, eps, bias=bias)
        self.final, self.backend = final, backend

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not _for_kernel(x):
            return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        return _by_kernel(self, x, centred=True)


class RMSNorm(nn.Module):
    """Divide by the root mean square of the last dimension; `torch.nn.RMSNorm` has no bias. Types as in `LayerNorm`."""

    def __init__(self, dim: int, eps: float, bias: bool = False, final: bool = False, backend: str = "auto") -> None:
        super().__init__()
        self.eps, self.final, self.backend = eps, final, backend
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        if _for_kernel(x):
            return _by_kernel(self, x, centred=False)
        y = F.rms_norm(x, self.weight.shape, self.weight, self.eps)
        return y if self.bias is None else y + self.bias


def _for_kernel(x: Tensor) -> bool:
    """Whether a norm is a kernel of ours. Not by whether a CUDA graph is captured: tokens must be the same with one."""
    return x.is_cuda and (torch.compiler.is_compiling() or x.numel() >= LEAST_FUSED)


def _by_kernel(norm: LayerNorm | RMSNorm, x: Tensor, centred: bool) -> Tensor:
    """The norm of x as our kernel; autocast leaves float64 alone."""
    dtype = x.dtype
    if dtype != torch.float64 and torch.is_autocast_enabled("cuda"):
        dtype = torch.float32 if norm.final else torch.get_autocast_dtype("cuda")
    return feature_norm(x, norm.weight, norm.bias, eps=norm.eps, centred=centred, dtype=dtype, backend=norm.backend)


class MultiHeadNorm(nn.Module):
    """LayerNorm of every head by itself: [B, T, H, D] -> [B, T, H * D]."""

    def __init__(self, dim: int, eps: float, bias: bool = False) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return head_norm(x, self.weight, self.bias, self.eps)

    def gated(
        self, h: Tensor, gate: Tensor, activation: Activation, a: Tensor | None = None, skip: Tensor | None = None,
        backend: str = "auto",
    ) -> Tensor:  # fmt: skip
        """(norm(h) + skip * a) * activation(gate), gate and a [B, T, H * D]."""
        return gated_norm(
            h, gate, self.weight, self.bias, a, skip, eps=self.eps, activation=activation, backend=backend
        )


def make_norm(config: xLSTMConfig, *, final: bool = False) -> nn.Module:
    """The normalisation of the residual stream: before a layer, or the `final` one."""
    kind = LayerNorm if config.family == "xlstm" else RMSNorm
    return kind(config.embedding_dim, config.option("norm_eps"), config.norm_bias, final, config.backend)


class BlockDiagonalLinear(nn.Module):
    """A linear map of every block of consecutive features by itself: [..., N * I] -> [..., N * O].

    Its weight is [N, O, I]: N dense maps beside each other, as in "q, k, v = block-diagonal projections" of the paper.
    """

    def __init__(self, dim: int, num_blocks: int, bias: bool = False) -> None:
        super().__init__()
        size = dim // num_blocks
        self.weight = nn.Parameter(torch.empty(num_blocks, size, size))
        self.bias = nn.Parameter(torch.zeros(dim)) if bias else None
        small_init_(self.weight, size)

    def forward(self, x: Tensor) -> Tensor:
        if self._as_matrix(x):
            # As a list of rows, of which torch adds the bias within the product though they lie apart in memory.
            return linear(x.flatten(0, -2), self.matrix(), self.bias).unflatten(0, x.shape[:-1])
        blocks = x.unflatten(-1, (self.weight.shape[0], self.weight.shape[2]))
        y = torch.einsum("...ni,noi->...no", blocks, self.weight).flatten(-2)
        return y if self.bias is None else y + self.bias

    def matrix(self) -> Tensor:
        """The whole map [N * O, N * I], zeros between the blocks."""
        count, given, taken = self.weight.shape[0], self.weight.shape[2], self.weight.shape[1]
        own = (torch.eye if torch.compiler.is_compiling() else _kept_eye)(
            count, dtype=self.weight.dtype, device=self.weight.device
        )
        return (self.weight.unsqueeze(2) * own[:, None, :, None]).reshape(count * taken, count * given)

    def _as_matrix(self, x: Tensor) -> bool:
        """Whether one product with many zeros takes less time than many products with few columns.

        On the CPU up to a width of 128. On a GPU in half precision its matrix units are idle otherwise: a batch of
        4 x 4 blocks fills a 32nd of their tiles, and the gradient of each block is one long sum. Graphs that are traced
        must not depend on the number of rows.
        """
        width, traced = x.shape[-1], torch.compiler.is_compiling()
        if x.device.type == "cuda":
            half = x.dtype != torch.float32 or torch.is_autocast_enabled("cuda")
            return half and width <= 1024 and (traced or x.numel() >= 4 * width * width)
        return not traced and width <= 128 and x.numel() >= 2 * width * width


@functools.lru_cache(maxsize=64)
def _kept_eye(count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The identity, made once: on a GPU making it takes longer than what it is needed for."""
    with torch.inference_mode(False):
        return torch.eye(count, dtype=dtype, device=device)


class CausalConv1d(nn.Module):
    """SiLU of a depthwise convolution over time that sees the present and the `kernel_size` - 1 steps before it.

    Its state is the window of the last `kernel_size` - 1 inputs, zeros before the first.
    """

    def __init__(self, dim: int, kernel_size: int, backend: str = "auto") -> None:
        super().__init__()
        bound = 1 / math.sqrt(kernel_size)
        self.weight = nn.Parameter(torch.empty(kernel_size, dim).uniform_(-bound, bound))  # oldest tap first
        self.bias = nn.Parameter(torch.empty(dim).uniform_(-bound, bound))
        self.backend = backend

    def initial_window(self, zeros: Callable[..., Tensor]) -> Tensor:
        """The state before the first step; `zeros(*shape)` makes a batch of tensors."""
        return zeros(self.weight.shape[0] - 1, self.weight.shape[1])

    def forward(
        self, x: Tensor, window: Tensor | None, packing: Packing | None, inplace: bool = False
    ) -> tuple[Tensor, Tensor]:
        """[B, T, E], window [B, kernel_size - 1, E] -> the same shapes; a packed row returns one window a document.

        With `inplace`, the new window is written over the given one.
        """
        past, (B, T, E) = self.weight.shape[0] - 1, x.shape
        if window is not None and window.shape[1:] != (past, E):
            raise ValueError(f"the state belongs to another backbone: window {[*window.shape]}, not [{B}, {past}, {E}]")
        y = causal_conv1d(
            x, self.weight, self.bias, window,
            position=None if packing is None else packing.position, activation="silu",
            backend=self.backend,
        )  # fmt: skip
        if packing is not None:
            return y, packing.last(x, past)
        if past <= T:
            last = x[:, T - past :].clone()  # a view would keep the whole sequence alive inside the state
        else:
            before = x.new_zeros(B, past, E) if window is None else window.to(x.dtype)
            last = torch.cat([before[:, T:], x], dim=1)
        return y, window.copy_(last) if inplace and window is not None else last


class GatedFeedForward(nn.Module):
    """down(activation(gate) * up) with gate and up from one projection (Shazeer 2020, "GLU Variants")."""

    def __init__(self, config: xLSTMConfig) -> None:
        super().__init__()
        bias = config.bias if config.ffn_bias is None else config.ffn_bias
        self.proj_up = Linear(config.embedding_dim, 2 * config.ffn_dim, bias=bias)
        self.proj_down = Linear(config.ffn_dim, config.embedding_dim, bias=bias)
        self.activation = ACTIVATIONS[config.option("ffn_activation")]
        small_init_(self.proj_up.weight, config.embedding_dim)
        wang_init_(self.proj_down.weight, config.embedding_dim, config.num_blocks)
        if bias:
            nn.init.zeros_(self.proj_up.bias)
            nn.init.zeros_(self.proj_down.bias)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.proj_up(x).chunk(2, dim=-1)
        return self.proj_down(self.activation(gate) * up)
