"""One kind of call of the Triton mLSTM: what follows from types, sizes, strides and options, worked out once."""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from xlstm_apps.kernels.kinds import Kinds
from xlstm_apps.kernels.mlstm.triton_gates import gate_kernel
from xlstm_apps.kernels.triton_plan import Operand, Plan, Storage, tile

INTERPRETED = not isinstance(gate_kernel, triton.JITFunction)
"""Whether kernels run through Triton's interpreter (TRITON_INTERPRET=1 before triton was imported)."""
FUSED_PROGRAMS = 96
"""Sequences times heads from which on one program per head keeps the card busy."""
FUSED_CHUNKS = 4
"""Chunks per sequence up to which one program per head is worth it however few there are."""
SUMMARY_BLOCK = 256
"""Chunks read at once when a chunk looks at all those before or after it."""


class Call:
    """Sizes, chunk length, types and strides of one kind of call, and the plans made for it."""

    def __init__(
        self, q: Tensor, k: Tensor, v: Tensor, igate: Tensor, fgate: Tensor, cu_seqlens: Tensor | None,
        has_state: bool, sigmoid: bool, normalize: bool, eps: float, scale: float, chunk_size: int,
    ) -> None:  # fmt: skip
        self.has_state = has_state
        self.sigmoid, self.normalize, self.eps, self.scale = sigmoid, normalize, eps, scale
        self.B, self.T, self.H, self.K = q.shape
        self.V = v.shape[-1]
        self.device, self.dtype, self.gate_dtypes = q.device, q.dtype, (igate.dtype, fgate.dtype)
        self.q_strides, self.k_strides, self.v_strides = q.stride()[:3], k.stride()[:3], v.stride()[:3]
        self.qkv_strides = (*self.q_strides, *self.k_strides, *self.v_strides)
        self.h_strides = (self.T * self.H * self.V, self.H * self.V, self.V)
        self.gate_strides = (*igate.stride(), *fgate.stride())
        self.exact = q.dtype == torch.float32
        largest = max(self.K, self.V)
        # Triton unrolls float32 products on a whole head into minutes of compilation: they take the general kernels.
        # Its interpreter does not compile, and tests the small kernels in float32.
        self.small = largest <= 64 and (not self.exact or INTERPRETED)
        self.medium = 64 < largest <= 128 and not self.exact
        self.packed = cu_seqlens is not None
        self.L = self._chunk(chunk_size)
        # From one [B, H, T] to the next of a stack: aligned, or kernels would come in two variants.
        self.plane = (self.B * self.H * self.T + 3) // 4 * 4
        if cu_seqlens is None:
            self.table_dtypes: tuple[torch.dtype, ...] = ()
            self.sequences = self.B
            self.chunks = (self.T + self.L - 1) // self.L
            self.total_chunks = self.B * self.chunks
        else:
            # As many chunks as there can be: their true number is known to the device alone.
            self.table_dtypes = (cu_seqlens.dtype, torch.int32, torch.int32)
            self.sequences = cu_seqlens.shape[0] - 1
            self.chunks = 0
            self.total_chunks = self.T // self.L + self.sequences
        self.slots = self.total_chunks * self.H
        self.sizes = (self.T, self.chunks, self.H)
        # Memories at chunk boundaries, their gradients, and the pair matrices.
        self.aux = torch.float32 if self.exact else torch.bfloat16
        # Sums over gates and the normaliser, where float32 would cost digits.
        self.wide = torch.float64 if self.exact else torch.float32
        # Gates between kernels too, except for small heads: their forward, which needs all digits, has them on chip.
        self.gate_dtype = torch.float32 if self.small and not self.exact else torch.float64
        # With tf32 allowed, products of three: Hopper's own drops bits instead of rounding, which is 1e-3 off.
        self.precision = "tf32x3" if allows_tf32(q) else "ieee"
        storage = Storage()
        self.saved(storage)
        self.saved_size = storage.size
        self.plans: dict[object, Plan] = {}
        """Forward and backward ones, by what else tells calls of this kind apart."""

    def _chunk(self, chunk_size: int) -> int:
        length = most = 64 if max(self.K, self.V) <= 64 else 128 if self.medium or self.exact else 256
        if chunk_size:
            return tile(chunk_size, most)
        if isinstance(self.T, int) and not self.packed and length > self.T:
            length = tile(self.T, length)
        return length

    @property
    def one_program_per_head(self) -> bool:
        """Whether the scans run in the fused kernels."""
        few_chunks = self.T <= FUSED_CHUNKS * self.L
        return self.small and (few_chunks or self.sequences * self.H >= FUSED_PROGRAMS)

    @property
    def small_tiles(self) -> tuple[int, int]:
        """Padded K and V where the memory stays on chip."""
        k, v = tile(self.K, 64), tile(self.V, 64)
        return (32, 32) if max(k, v) <= 32 else (64, 64)

    @property
    def gradient_tiles(self) -> tuple[int, int]:
        """Padded K and V where one program takes all of them."""
        if self.precision == "ieee" and self.exact:
            return tile(self.K, 64), tile(self.V, 64)
        return tile(self.K, 128, 64), tile(self.V, 128, 64)

    def scan_tiles(self, backward: bool) -> dict[str, int]:
        """Tile of the memory that one program carries through a sequence."""
        if self.exact:
            return {
                "BT": min(self.L, 32),
                "BK": tile(self.K, 32),
                "BV": tile(self.V, 32),
                "num_warps": 4,
                "num_stages": 2,
            }
        few = self.sequences * self.H * self.K * self.V <= 512 * 64 * 64  # programs, for tiles of 64 by 64
        v_tile = 64 if few or backward else 128
        return {
            "BT": min(self.L, 128 if few else 64), "BK": 64, "BV": tile(self.V, v_tile, 64),
            "num_warps": 4, "num_stages": 3,
        }  # fmt: skip

    def tables(self, cu_seqlens: Tensor | None) -> tuple[Tensor, ...]:
        """Where documents begin, which chunk each begins with, which document a chunk belongs to."""
        if cu_seqlens is None:
            return ()
        counts = (cu_seqlens.diff() + (self.L - 1)) // self.L
        offsets = torch.nn.functional.pad(counts.cumsum(0), (1, 0)).to(torch.int32)
        ids = torch.arange(self.total_chunks, device=cu_seqlens.device, dtype=torch.int32)
        documents = torch.searchsorted(offsets[1:], ids, right=True, out_int32=True).clamp_(max=self.sequences - 1)
        return cu_seqlens.contiguous(), offsets, documents

    def saved(self, storage: Storage, wanted: bool = True) -> tuple[Operand, Operand, Operand, Operand, Operand]:
        """What the forward leaves to the backward; if not `wanted`, stand-ins of the same types."""
        new = storage.new
        slots, plane = (self.slots, self.plane) if wanted else (0, 0)
        return (
            new(self.gate_dtype, 4, plane),  # kexp, qexp, m, weight: [B, H, T] each
            new(self.wide, slots),  # decay
            new(self.aux, slots, self.K, self.V),  # memory at the start of each chunk
            new(self.wide, slots, self.K),  # its normaliser
            new(torch.float32, plane if self.normalize else 0),  # q . n
        )

    def allocate_results(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """h and the final c, n, m."""
        new, f32 = like.new_empty, torch.float32
        return (
            new(self.B, self.T, self.H, self.V),
            new(self.sequences, self.H, self.K, self.V, dtype=f32),
            new(self.sequences, self.H, self.K, dtype=f32),
            new(self.sequences, self.H, dtype=f32),
        )

    def allocate_gradients(self, q: Tensor, igate: Tensor, fgate: Tensor) -> tuple[Tensor, ...]:
        """Of q, k, v, igate, fgate."""
        new = q.new_empty
        return (
            new(self.B, self.T, self.H, self.K),
            new(self.B, self.T, self.H, self.K),
            new(self.B, self.T, self.H, self.V),
            igate.new_empty(self.B, self.T, self.H),
            fgate.new_empty(self.B, self.T, self.H),
        )

    def allocate_state_gradients(self, like: Tensor, wanted: bool = True) -> tuple[Tensor, Tensor, Tensor]:
        """Of the initial c, n, m."""
        new, f32 = like.new_empty, torch.float32
        sizes = (self.sequences, self.H) if wanted else (0, 0)
        return new(*sizes, self.K, self.V, dtype=f32), new(*sizes, self.K, dtype=f32), new(*sizes, dtype=f32)


_calls: Kinds[Call] = Kinds()


def find(
    q: Tensor, k: Tensor, v: Tensor, igate: Tensor, fgate: Tensor, cu_seqlens: Tensor | None, *options: bool | float
) -> Call:
    """The kind a call belongs to. `options` are those of `Call`."""
    # Everything that a launch depends on, save addresses and what `Call.plans` tells apart.
    key = (
        q.shape, v.shape, q.stride(), k.stride(), v.stride(), igate.stride(), fgate.stride(), q.dtype, igate.dtype,
        fgate.dtype, q.device, None if cu_seqlens is None else (cu_seqlens.shape, cu_seqlens.dtype), allows_tf32(q),
        options,
    )  # fmt: skip
    call = _calls.get(key)
    if call is None:
        call = _calls[key] = Call(q, k, v, igate, fgate, cu_seqlens, *options)
    return call


def allows_tf32(tensor: Tensor) -> bool:
    """Whether float32 products may round their operands."""
    return tensor.dtype is torch.float32 and torch.backends.cuda.matmul.allow_tf32
