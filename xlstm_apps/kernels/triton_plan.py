"""Kernel launches worked out once and repeated with new addresses.

To work a launch out (tiles, strides, Triton's look at every argument) takes Python longer than most of these kernels
run. So all calls of one kind, alike in types, sizes, strides and options, share a `Plan`: its launches are written down
once, in terms of the call's tensors, and a repeat needs no more than the addresses of those.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import NamedTuple

import torch
import triton
from torch import Tensor
from triton.runtime import driver

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
ALIGNMENT = 256
"""Bytes at whose multiples the buffers of a storage start."""
FUSED = {"enable_fp_fusion": True}
"""Products and sums become one instruction: Triton's default up to 3.9, which warns that the next will have another."""
_VERSION = tuple(int(x) for x in triton.__version__.split(".")[:2])


class Operand(NamedTuple):
    """What a kernel takes as a pointer: a place in one of the call's tensors."""

    tensor: int
    """Index among the tensors of a call."""
    offset: int
    """Bytes from the start of the tensor."""
    dtype: torch.dtype

    def part(self, start: int) -> Operand:
        """The same from element `start` on."""
        return self._replace(offset=self.offset + start * self.dtype.itemsize)


class Storage:
    """Buffers that share one allocation, since each allocation costs as much as a launch."""

    def __init__(self, tensor: int = 0) -> None:
        self.tensor = tensor
        self.size = 0

    def new(self, dtype: torch.dtype, *shape: int) -> Operand:
        """The next buffer."""
        operand = Operand(self.tensor, self.size, dtype)
        self.size += (math.prod(shape) * dtype.itemsize + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
        return operand


class _Launch(NamedTuple):
    kernel: Callable
    programs: int
    operands: tuple[int, ...]
    numbers: tuple
    meta: dict[str, object]


class Plan:
    """The launches of one kind of call.

    Declare the call's tensors with `tensor` and `storage`, add the launches, then `run` with the tensors themselves in
    the order of declaration.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._count = 0
        self._operands: dict[Operand, int] = {}
        self._launches: list[_Launch] = []
        self._places: list[tuple[int, int]] = []
        self._compiled: dict[tuple[int, ...] | None, list[tuple]] = {}

    def tensor(self, dtype: torch.dtype) -> Operand:
        """The call's next tensor, of this type."""
        self._count += 1
        return Operand(self._count - 1, 0, dtype)

    def optional(self, other: Operand, *tensors: Tensor | None) -> list[Operand]:
        """The call's next tensors, some of which it may lack; `other` then stands in, which the kernel leaves alone."""
        return [other if x is None else self.tensor(x.dtype) for x in tensors]

    def storage(self) -> Storage:
        """The call's next tensor, of bytes, to hold several buffers."""
        self._count += 1
        return Storage(self._count - 1)

    def launch(self, kernel, programs: int, *args: Operand | float, **meta: object) -> None:
        """Add a launch.

        Args:
            kernel: The jitted function.
            programs: Grid size.
            args: Run-time arguments in order, pointers first.
            meta: Compile-time arguments, in order, and launch options.
        """
        operands = tuple(self._operands.setdefault(x, len(self._operands)) for x in args if isinstance(x, Operand))
        self._launches.append(_Launch(kernel, programs, operands, args[len(operands) :], meta | FUSED))

    def run(self, tensors: Sequence[Tensor]) -> None:
        """Launch everything, on the current stream of the tensors' device."""
        index = self._device.index
        if index is None or index == torch.cuda.current_device():
            self._run(tensors)
        else:
            with torch.cuda.device(index):
                self._run(tensors)

    def _run(self, tensors: Sequence[Tensor]) -> None:
        addresses = [x.data_ptr() for x in tensors]
        bits = 0
        for address in addresses:
            bits |= address
        # Triton compiles a variant for pointers at multiples of 16 bytes: each pattern of addresses has its launches.
        pattern = None if bits % 16 == 0 else tuple([address % 16 for address in addresses])
        compiled = self._compiled.get(pattern)
        if compiled is None:
            self._run_first(tensors, pattern)
            return
        # As integers: of a tensor the launcher would ask the address again, and the driver whether it is one.
        pointers = [addresses[i] + offset for i, offset in self._places]
        if not (3, 6) <= _VERSION <= (3, 9) or _listeners():
            for _, _, _, kernel, programs, pick, rest in compiled:
                kernel[(programs, 1, 1)](*pick(pointers), *rest)
            return
        stream = driver.active.get_current_stream(self._device.index)
        # What `compiled[grid](...)` does in these versions, but looks up for each launch: device, stream, hooks.
        for start, function, metadata, _, programs, pick, rest in compiled:
            start(programs, 1, 1, stream, function, metadata, None, None, None, *pick(pointers), *rest)

    def _run_first(self, tensors: Sequence[Tensor], pattern: tuple[int, ...] | None) -> None:
        views = [_view(tensors[x.tensor], x) for x in self._operands]
        found = []
        for kernel, programs, operands, numbers, meta in self._launches:
            compiled = kernel[(programs,)](*(views[i] for i in operands), *numbers, **meta)
            if isinstance(kernel, triton.JITFunction):  # else it is interpreted
                rest = (*numbers, *(meta[x] for x in kernel.arg_names[len(operands) + len(numbers) :]))
                start, function, metadata = compiled.run, compiled.function, compiled.packed_metadata
                found.append((start, function, metadata, compiled, programs, itemgetter(*operands), rest))
        if found and _VERSION >= (3, 4):  # earlier ones launch with other arguments
            self._places = [(x.tensor, x.offset) for x in self._operands]
            self._compiled[pattern] = found


def _view(tensor: Tensor, operand: Operand) -> Tensor:
    return tensor if tensor.dtype == operand.dtype else tensor[operand.offset :].view(operand.dtype)


def _listeners() -> bool:
    """Whether a profiler wants to hear of launches."""
    runtime = triton.knobs.runtime
    before, after = runtime.launch_enter_hook, runtime.launch_exit_hook
    return bool(getattr(before, "calls", before) or getattr(after, "calls", after))


@functools.cache
def processors(device: torch.device) -> int:
    """How many programs run side by side at least."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def unsupported_type(**tensors: Tensor | None) -> str | None:
    """Reason why kernels cannot take tensors of these types, or None."""
    for name, x in tensors.items():
        if x is not None and x.dtype not in DTYPES:
            return f"{name} is {x.dtype}; the kernels take float32, bfloat16 and float16"
    return None


def unit_stride(x: Tensor) -> Tensor:
    """The same, its last dimension as kernels read it: neighbours in memory."""
    return x if x.stride(-1) == 1 else x.contiguous()


def aligned(strides: Sequence[int]) -> int:
    """How many neighbouring elements may be loaded at once, at most 8, where rows lie so far apart."""
    return math.gcd(8, *strides)


def power_of_2(n: int) -> int:
    """The least power of two that is not below n."""
    return 1 << max(n - 1, 0).bit_length()


def tile(n: int, most: int, least: int = 16) -> int:
    """Block length for a dimension of n: a power of two, at least what a matrix product needs.

    Half-precision products on four warps or more take at least 64: the assembler that comes with Triton 3.6 and 3.7
    gets some kernels with blocks of 32 columns wrong on Hopper (triton-lang/triton issue 11366).
    """
    return max(least, min(most, power_of_2(n)))


def tiles(n: int, block: int) -> int:
    """How many blocks cover n. (Triton's own `cdiv` is made for kernels, and slow here.)"""
    return (n + block - 1) // block
