"""One call of the Triton mLSTM as the host sees it: sizes, chunk length, types, buffers; and how kernels start."""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from xlstm_apps.kernels.mlstm.triton_gates import gate_kernel

INTERPRETED = not isinstance(gate_kernel, triton.JITFunction)
"""Whether kernels run through Triton's interpreter (TRITON_INTERPRET=1 before triton was imported)."""
FUSED_PROGRAMS = 96
"""Sequences times heads from which on one program per head keeps the card busy."""
FUSED_CHUNKS = 4
"""Chunks per sequence up to which one program per head is worth it however few there are."""


OVERRIDES: dict[str, dict[str, int]] = {}
"""Tile sizes, warps and stages by kernel, in place of the built-in ones: for experiments."""
_placeholders: dict[tuple, tuple[Tensor, ...]] = {}
_compiled: dict[tuple, tuple] = {}


def run(kernel, key: tuple, programs: int, *args, **meta) -> None:
    """Launch a kernel, on the second call with the same key without Triton's own look at every argument.

    That look takes longer than most of these kernels run. It derives a variant of the kernel from types, strides and
    the alignment of addresses: `key` determines the first two, the third is checked here.

    Args:
        kernel: The jitted function.
        key: Whatever types, integers and options of the call follow from.
        programs: Grid size.
        args: Run-time arguments, in order.
        meta: Compile-time arguments and launch options.
    """
    name = (kernel.__name__, key)
    known = _compiled.get(name)
    if known is not None:
        compiled, constants, tensors = known
        if _aligned(args, tensors):
            compiled[(programs, 1, 1)](*args, *constants)
            return
    compiled = kernel[(programs,)](*args, **meta)
    tensors = tuple(i for i, x in enumerate(args) if isinstance(x, Tensor))
    if not INTERPRETED and _aligned(args, tensors):
        if len(_compiled) >= 4096:
            _compiled.clear()
        _compiled[name] = (compiled, tuple(meta[x] for x in kernel.arg_names[len(args) :]), tensors)


def _aligned(args: tuple, tensors: tuple[int, ...]) -> bool:
    """Whether the addresses of all tensors, given their places in `args`, are multiples of 16 bytes."""
    address = 0
    for i in tensors:
        address |= args[i].data_ptr()
    return address % 16 == 0


def pick(kernel, **tiles: int) -> dict[str, int]:
    """Tile sizes and launch options of a kernel."""
    return tiles | OVERRIDES.get(kernel.__name__, {})


def power_of_2(n: int) -> int:
    return 1 << max(n - 1, 0).bit_length()


def tile(n: int, most: int, least: int = 16) -> int:
    """Block length for a dimension of n: a power of two, at least what a matrix product needs.

    Half-precision products on four warps or more take at least 64: the assembler that comes with Triton 3.6 and 3.7
    gets some kernels with blocks of 32 columns wrong on Hopper (triton-lang/triton issue 11366).
    """
    return max(least, min(most, power_of_2(n)))


class Call:
    """One call's tensors and what follows from them: sizes, chunk length, types, buffers."""

    def __init__(
        self, q: Tensor, k: Tensor, v: Tensor, igate: Tensor, fgate: Tensor, cu_seqlens: Tensor | None,
        sigmoid: bool, normalize: bool, eps: float, scale: float, chunk_size: int, fake: bool = False,
    ) -> None:  # fmt: skip
        self.q, self.k, self.v = (x if x.stride(-1) == 1 else x.contiguous() for x in (q, k, v))
        self.igate, self.fgate = igate, fgate
        self.sigmoid, self.normalize, self.eps, self.scale = sigmoid, normalize, eps, scale
        self.B, self.T, self.H, self.K = q.shape
        self.V = v.shape[-1]
        self.exact = q.dtype == torch.float32
        largest = max(self.K, self.V)
        # Triton unrolls float32 products on a whole head into minutes of compilation: they take the general kernels.
        fused = not self.exact or INTERPRETED
        self.small = largest <= 64 and fused
        self.medium = 64 < largest <= 128 and fused
        self.L = self._chunk(chunk_size)
        # From one [B, H, T] to the next of a stack: aligned, or kernels would come in two variants.
        self.plane = (self.B * self.H * self.T + 3) // 4 * 4
        self.packed = cu_seqlens is not None
        if cu_seqlens is None:
            self.sequences = self.B
            self.chunks = (self.T + self.L - 1) // self.L
            self.total_chunks = self.B * self.chunks
            self.tables = (self.q, self.q, self.q)
        else:
            # As many chunks as there can be: their true number is known to the device alone.
            self.sequences = cu_seqlens.shape[0] - 1
            self.chunks = 0
            self.total_chunks = self.T // self.L + self.sequences
            if not fake:
                self.tables = self._chunk_tables(cu_seqlens)
        # Memories at chunk boundaries, their gradients, and the pair matrices.
        self.aux = torch.float32 if self.exact else torch.bfloat16
        # Sums over gates and the normaliser, where float32 would cost digits.
        self.wide = torch.float64 if self.exact else torch.float32
        # Gates between kernels too, except for small heads: their forward, which needs all digits, has them on chip.
        self.gate_dtype = torch.float32 if self.small and not self.exact else torch.float64
        # With tf32 allowed, products of three: Hopper's own drops bits instead of rounding, which is 1e-3 off.
        tf32 = self.exact and torch.backends.cuda.matmul.allow_tf32
        self.precision = "tf32x3" if tf32 else "ieee"
        if not fake:
            self.qkv_strides = (*self.q.stride()[:3], *self.k.stride()[:3], *self.v.stride()[:3])
            self.gate_strides = (*igate.stride(), *fgate.stride())
            self.key = (
                q.device.index, q.shape, self.V, self.qkv_strides, self.gate_strides, q.dtype, igate.dtype, fgate.dtype,
                self.tables[0].dtype, self.sequences, self.packed, sigmoid, normalize, chunk_size, tf32,
            )  # fmt: skip

    def _chunk(self, chunk_size: int) -> int:
        length = most = 64 if max(self.K, self.V) <= 64 else 128 if self.medium or self.exact else 256
        if chunk_size:
            return tile(chunk_size, most)
        if isinstance(self.T, int) and length > self.T:
            length = tile(self.T, length)
        return length

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

    @property
    def one_program_per_head(self) -> bool:
        """Whether the scans run in the fused kernels."""
        few_chunks = self.T <= FUSED_CHUNKS * self.L
        return self.small and (few_chunks or self.sequences * self.H >= FUSED_PROGRAMS)

    def _chunk_tables(self, cu_seqlens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        counts = (cu_seqlens.diff() + (self.L - 1)) // self.L
        offsets = torch.nn.functional.pad(counts.cumsum(0), (1, 0)).to(torch.int32)
        ids = torch.arange(self.total_chunks, device=cu_seqlens.device, dtype=torch.int32)
        documents = torch.searchsorted(offsets[1:], ids, right=True, out_int32=True).clamp_(max=self.sequences - 1)
        return cu_seqlens.contiguous(), offsets, documents

    def allocate_forward(self, save: bool) -> tuple[Tensor, ...]:
        """h, the final c, n, m, then what the kernels pass on; nothing of the latter where none of them needs it."""
        if save or not self.one_program_per_head:
            return *self._allocate_results(), *self._allocate_saved(self.total_chunks, self.plane)
        name = (self.q.device, self.q.dtype)
        if name not in _placeholders:
            _placeholders[name] = self._allocate_saved(0, 0)
        return *self._allocate_results(), *_placeholders[name]

    def allocate_outputs(self, save: bool) -> tuple[Tensor, ...]:
        """What the registered operator returns."""
        saved = self._allocate_saved(self.total_chunks, self.plane) if save else self._allocate_saved(0, 0)
        return *self._allocate_results(), *saved

    def placeholders(self) -> tuple[Tensor, ...]:
        """Stand in for what is not saved."""
        return self._allocate_saved(0, 0)

    def _allocate_results(self) -> tuple[Tensor, ...]:
        new = self.q.new_empty
        return (
            new(self.B, self.T, self.H, self.V),
            new(self.sequences, self.H, self.K, self.V, dtype=torch.float32),
            new(self.sequences, self.H, self.K, dtype=torch.float32),
            new(self.sequences, self.H, dtype=torch.float32),
        )

    def _allocate_saved(self, chunks: int, plane: int) -> tuple[Tensor, ...]:
        new = self.q.new_empty
        return (
            new(4, plane, dtype=self.gate_dtype),  # kexp, qexp, m, weight: [B, H, T] each
            new(chunks, self.H, dtype=self.wide),  # decay
            new(chunks, self.H, self.K, self.V, dtype=self.aux),  # memory at the start of each chunk
            new(chunks, self.H, self.K, dtype=self.wide),  # its normaliser
            new(plane if self.normalize else 0, dtype=torch.float32),  # q . n
        )

    def allocate_backward(self, needs_dstate: bool) -> tuple[Tensor, ...]:
        new = self.q.new_empty
        states = (self.sequences, self.H) if needs_dstate else (0, 0)
        return (
            new(self.B, self.T, self.H, self.K),
            new(self.B, self.T, self.H, self.K),
            new(self.B, self.T, self.H, self.V),
            self.igate.new_empty(self.B, self.T, self.H),
            self.fgate.new_empty(self.B, self.T, self.H),
            new(*states, self.K, self.V, dtype=torch.float32),
            new(*states, self.K, dtype=torch.float32),
            new(*states, dtype=torch.float32),
        )
