"""Host side of the Triton recurrences: which kernels, tile sizes, buffers and launches."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
import triton
from torch import Tensor

from xlstm_apps.kernels.kinds import Kinds
from xlstm_apps.kernels.rnn import triton_backward, triton_forward, triton_streamed, triton_weights
from xlstm_apps.kernels.state import STATES
from xlstm_apps.kernels.triton_plan import FUSED, Plan, power_of_2, processors, tiles, unit_stride

INTERPRETED = not isinstance(triton_forward.forward_kernel, triton.JITFunction)
"""Whether kernels run through Triton's interpreter (TRITON_INTERPRET=1 before triton was imported)."""
SLOTS = {"slstm": 4, "lstm": 4, "gru": 4, "elman": 1}
"""Gradients per step and unit, one for each row of the bias."""
FACTORS = {"slstm": 6, "lstm": 6, "gru": 5, "elman": 1}
"""What the backward needs of each step and unit."""
DATA_CENTRE = ((8, 0), (9, 0), (10, 0), (10, 3))
"""Compute capabilities with 160 KiB of shared memory and more."""
STAGES = 6
"""Steps in flight between global memory and the step that needs them, plus one."""


@functools.cache
def roomy(device: torch.device) -> bool:
    """Whether a program may use more than 99 KiB of shared memory: data centre cards may, others may not."""
    return device.type != "cuda" or torch.cuda.get_device_capability(device) in DATA_CENTRE


@dataclass(frozen=True)
class Sizes:
    """Sizes of one call and what follows from them."""

    cell: str
    batch: int
    steps: int
    heads: int
    dim: int
    dtype: torch.dtype
    device: torch.device

    @property
    def fast(self) -> bool:
        """Approximate instructions and inline PTX."""
        return self.dtype != torch.float32 and not INTERPRETED and torch.version.hip is None

    @property
    def units(self) -> int:
        """Head dimension of the resident kernels' tiles."""
        return max(16, power_of_2(self.dim))

    @property
    def resident(self) -> bool:
        """Whether the recurrent weights stay on chip."""
        most = 64 if self.dtype == torch.float32 else 128
        return self.units <= (most if roomy(self.device) else most // 2)

    @property
    def padded(self) -> int:
        """Units per program in the buffer of factors."""
        return self.units if self.resident else tiles(self.dim, self.block) * self.block

    @property
    def block(self) -> int:
        """Units worked off at once where the weights are not resident."""
        return 64 if self.dtype == torch.float32 else 128

    @property
    def streaming(self) -> dict[str, int]:
        """Tile sizes of the kernels that stream the weights."""
        exact = self.dtype == torch.float32
        inner, warps, stages = (64, 4, 2) if exact else (32, 8, 3 if roomy(self.device) else 2)
        return {"UNITS": self.padded, "BLOCK": self.block, "INNER": inner, "num_warps": warps, "num_stages": stages}

    @property
    def tile(self) -> int:
        """Sequences per program; resident: as few as the matrix instruction takes, for the shortest steps."""
        return 8 if self.resident else 16

    @property
    def programs(self) -> int:
        return self.heads * tiles(self.batch, self.tile)

    @property
    def packed(self) -> bool:
        """Whether the factors of one unit are packed into two words of 64 bits."""
        return self.fast and self.resident

    @property
    def factors(self) -> int:
        return tiles(FACTORS[self.cell], 3) if self.packed else FACTORS[self.cell]

    @property
    def factor_dtype(self) -> torch.dtype:
        return torch.int64 if self.packed else torch.float32

    @property
    def precision(self) -> str:
        return "tf32" if torch.backends.cuda.matmul.allow_tf32 else "ieee"


def alignment(x: Tensor) -> int:
    """Largest power of two up to 8 that divides the strides of `x`: elements that can be copied at once."""
    return math.gcd(8, *x.stride()[:-1])


def sizes(gates: Tensor, cell: str) -> Sizes:
    batch, steps, _, heads, dim = gates.shape
    return Sizes(cell, batch, steps, heads, dim, gates.dtype, gates.device)


def allocate_forward(gates: Tensor, cell: str, train: bool) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """h, final h, c, n, m (empty where the cell has none) and the factors (empty unless `train`)."""
    p = sizes(gates, cell)
    shape = (p.batch, p.heads, p.dim)
    h = gates.new_empty(p.batch, p.steps, p.heads, p.dim)
    hn = gates.new_empty(shape, dtype=torch.float32)
    cn = gates.new_empty(shape if cell in ("slstm", "lstm") else (0,), dtype=torch.float32)
    nn = gates.new_empty(shape if cell == "slstm" else (0,), dtype=torch.float32)
    mn = torch.empty_like(nn)
    size = (p.programs, p.steps, p.factors, p.padded, p.tile) if train else (0,)
    return h, hn, cn, nn, mn, gates.new_empty(size, dtype=p.factor_dtype)


class ForwardPlan(Plan):
    """The launch of a forward; its tensors are those that `run_forward` runs it with."""

    def __init__(
        self, p: Sizes, gates: Tensor, bias: Tensor, has_state: bool, inplace: bool, cell: str, train: bool
    ) -> None:
        super().__init__(p.device)
        f32 = torch.float32
        inputs = [self.tensor(dtype) for dtype in (p.dtype, p.dtype, bias.dtype)]
        h, hn, cn, nn, mn, factors = (self.tensor(x) for x in (p.dtype, f32, f32, f32, f32, p.factor_dtype))
        exchange = None if p.resident else self.tensor(p.dtype)
        if inplace:
            states = [hn, cn, nn, mn]
        else:
            # What the cell does not have, something stands in for.
            states = [self.tensor(f32) for _ in STATES[cell]] if has_state else []
            states += [hn] * (4 - len(states))
        x_b, x_t, x_g, x_h, _ = gates.stride()
        numbers = (p.steps, p.batch, p.heads, x_b, x_t, x_h)
        common = {
            "x_g": x_g, "CELL": cell, "D": p.dim, "BATCH": p.tile, "STATE": has_state, "TRAIN": train,
            "FACTORS": p.factors, "FAST": p.fast, "PRECISION": p.precision,
        }  # fmt: skip
        if exchange is None:
            self.launch(
                triton_forward.forward_kernel, p.programs,
                *inputs, *states, h, factors, hn, cn, nn, mn, *numbers,
                UNITS=p.units, ALIGNED=alignment(gates), STAGES=STAGES, num_warps=p.units // 16, **common,
            )  # fmt: skip
        else:
            self.launch(
                triton_streamed.forward_kernel, p.programs,
                *inputs, *states, h, factors, exchange, hn, cn, nn, mn, *numbers, p.batch * p.heads * p.dim,
                **p.streaming, **common,
            )  # fmt: skip


_plans: Kinds[tuple[Sizes, ForwardPlan]] = Kinds()


def run_forward(
    gates: Tensor, recurrent: Tensor, bias: Tensor, state: tuple[Tensor, ...], cell: str, train: bool, inplace: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Run the forward kernel; see `allocate_forward` for what comes back.

    `state`, float32, holds what the cell has of h, c, n, m, or nothing; `inplace` it is overwritten, and must be
    contiguous.
    """
    gates = unit_stride(gates)
    key = (
        gates.shape, gates.stride(), gates.dtype, bias.dtype, gates.device, len(state), inplace, cell, train,
        torch.backends.cuda.matmul.allow_tf32,
    )  # fmt: skip
    found = _plans.get(key)
    if found is None:
        p = sizes(gates, cell)
        found = _plans[key] = p, ForwardPlan(p, gates, bias, bool(state), inplace, cell, train)
    p, plan = found
    if inplace:
        empty = state[0].new_empty(0)
        hn, cn, nn, mn = (*state, *(empty,) * (4 - len(state)))
        out = (gates.new_empty(p.batch, p.steps, p.heads, p.dim), hn, cn, nn, mn, empty.to(p.factor_dtype))
        state = ()
    else:
        out = allocate_forward(gates, cell, train)
        state = tuple(x.contiguous() for x in state)
    exchange = () if p.resident else (gates.new_empty(2, p.batch, p.heads, p.dim),)
    plan.run((gates, recurrent.to(gates.dtype).contiguous(), bias.contiguous(), *out, *exchange, *state))
    return out


def forward(
    gates: Tensor, recurrent: Tensor, bias: Tensor,
    h0: Tensor | None, c0: Tensor | None, n0: Tensor | None, m0: Tensor | None, cell: str, train: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """As `run_forward`, with None for fields that the cell or the call does not have."""
    state = tuple(x for x in (h0, c0, n0, m0) if x is not None)
    return run_forward(gates, recurrent, bias, state, cell, train, False)


def allocate_backward(h: Tensor, cell: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the pre-activations [B, T, slots, H, D] and of the initial h, y (or c) and l."""
    batch, steps, heads, dim = h.shape
    g = h.new_empty(batch, steps, SLOTS[cell], heads, dim)
    dh = h.new_empty((batch, heads, dim), dtype=torch.float32)
    dc = torch.empty_like(dh) if cell in ("slstm", "lstm") else dh.new_empty(0)
    return g, dh, dc, torch.empty_like(dh) if cell == "slstm" else dh.new_empty(0)


def backward(
    recurrent: Tensor, h: Tensor, factors: Tensor, dy: Tensor,
    dhn: Tensor | None, dcn: Tensor | None, dmn: Tensor | None, cell: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Run the backward kernel; see `allocate_backward` for what comes back."""
    out = allocate_backward(h, cell)
    g, dh, dc, dm = out
    p = sizes(g, cell)
    dy = unit_stride(dy)
    recurrent = recurrent.to(h.dtype).contiguous()
    y_b, y_t, y_h, _ = dy.stride()
    finals = [x if x is None or x.numel() else None for x in (dhn, dcn, dmn)]
    with torch.cuda.device_of(h):
        if p.resident:
            state = any(x is not None for x in finals)
            if state:
                given = [torch.zeros_like(dh) if x is None else x.float().contiguous() for x in finals]
            else:
                given = [dh, dh, dh]
            triton_backward.backward_kernel[(p.programs,)](
                recurrent, factors, dy, *given, g, dh, dc, dm, p.steps, p.batch, p.heads, y_b, y_t, y_h,
                CELL=cell, D=p.dim, UNITS=p.units, BATCH=p.tile, STATE=state, FACTORS=p.factors, FAST=p.fast,
                ALIGNED=alignment(dy), STAGES=STAGES, PRECISION=p.precision, HD=p.heads * p.dim,
                num_warps=p.units // 16, **FUSED,
            )  # fmt: skip
        else:
            for x, final in zip((dh, dc, dm), finals, strict=True):
                x.zero_() if final is None else x.copy_(final)
            triton_streamed.backward_kernel[(p.programs,)](
                recurrent, factors, dy, g, dh, dc, dm, p.steps, p.batch, p.heads, y_b, y_t, y_h,
                CELL=cell, D=p.dim, BATCH=p.tile, FACTORS=p.factors, PRECISION=p.precision, **p.streaming, **FUSED,
            )  # fmt: skip
    return out


def weight_gradients(g: Tensor, h: Tensor, h0: Tensor | None, cell: str) -> tuple[Tensor, Tensor]:
    """dR [G, H, D, D] and db [slots, H, D] in float32 from the gradients g of the pre-activations."""
    batch, steps, slots, heads, dim = g.shape
    p = sizes(g, cell)
    block = min(64, p.units)
    length = 16 if INTERPRETED else 32 if p.dtype == torch.float32 else 128
    products = heads * slots * tiles(dim, block) ** 2
    rows = batch * steps
    parts = max(1, min(tiles(4 * processors(g.device), products), tiles(rows, 4 * length)))
    chunk = tiles(tiles(rows, parts), length) * length
    parts = tiles(rows, chunk)
    dr = h.new_empty((parts, slots, heads, dim, dim), dtype=torch.float32)
    db = h.new_empty((parts, slots, heads, dim), dtype=torch.float32)
    with torch.cuda.device_of(g):
        triton_weights.weights_kernel[(parts * products,)](
            g, h, dr, db, steps, rows, chunk, heads, dim,
            SLOTS=slots, BLOCK=block, STEPS=length, PRECISION=p.precision, num_warps=4, num_stages=3, **FUSED,
        )  # fmt: skip
    dr, db = dr.sum(0), db.sum(0)
    if h0 is not None:
        dr += torch.einsum("bghd,bhk->ghdk", g[:, 0].float(), h0.to(h.dtype).float())
    return torch.cat([dr[:2], dr[3:]]) if cell == "gru" else dr, db
