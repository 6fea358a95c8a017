"""Makes Triton's interpreter compute with bfloat16 as a GPU does.

It keeps such numbers as 16-bit codes, multiplies the codes as if they were integers, and cuts numbers off instead of
rounding them. With both mended, kernels on the CPU give the errors of the real thing, digit for digit.
"""

import numpy as np
import triton.language as tl
from triton.runtime import interpreter


def apply() -> None:
    builder = interpreter.InterpreterBuilder
    plain_cast, plain_dot = builder.cast_impl, builder.create_dot

    def widened(x):
        return (x.data.astype(np.uint32) << 16).view(np.float32) if x.dtype == tl.bfloat16 else x.data

    def dot(self, a, b, d, input_precision, max_num_imprecise_acc):
        if a.dtype != tl.bfloat16:
            return plain_dot(self, a, b, d, input_precision, max_num_imprecise_acc)
        return interpreter.TensorHandle(np.matmul(widened(a), widened(b), dtype=np.float32) + d.data, d.dtype.scalar)

    def cast(self, source, target):
        if target.scalar != tl.bfloat16 or source.dtype.scalar != tl.float32:
            return plain_cast(self, source, target)
        code = source.data.view(np.uint32).astype(np.uint64)
        rounded = (code + 0x7FFF + ((code >> 16) & 1)) >> 16  # to nearest, ties to even
        return interpreter.TensorHandle(rounded.astype(np.uint16), tl.bfloat16)

    builder.cast_impl, builder.create_dot = cast, dot
