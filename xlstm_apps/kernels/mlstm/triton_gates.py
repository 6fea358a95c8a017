"""One-dimensional work of the chunkwise mLSTM: gate scans before the matrix kernels, gate gradients after them.

Everything the matrix kernels need to know about the gates fits in two numbers per token. With `F` the running sum of
the logarithms of the forget gates from the start of a chunk and `m0` the stabiliser there,

    kexp_j = i_j - F_j - m0                     (what key j weighs)
    qexp_t = max(0, max_{j <= t} kexp_j)        (what query t is measured against; `-F_t` with sigmoid input gates)

and then `exp(kexp_j - qexp_t)` is the weight of key j for query t, `exp(-qexp_t)` that of the memory at the start of
the chunk, and `m_t = F_t + m0 + qexp_t` the stabiliser of the recurrence. So the stabiliser is a scan over the gates
alone, and both kinds of input gate share every matrix kernel. All of it is in units of log 2, for `exp2`.

Sums run in float64 and are stored relative to the chunk, since a gate of -30 over a long chunk would leave float32 too
few digits for the difference of two sums.
"""

from __future__ import annotations

import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)
LN2 = tl.constexpr(0.6931471805599453)
GATE_FLOOR = tl.constexpr(-1e4)  # as in the reference: exp of it is 0, and sums of it stay finite


@triton.jit
def locate(chunk_id, T, chunks, cu_seqlens, chunk_offsets, chunk_docs, PACKED: tl.constexpr):
    """Sequence, chunk within it, row of the batch, first token and length, of one chunk."""
    if PACKED:
        sequence = tl.load(chunk_docs + chunk_id)
        chunk = chunk_id - tl.load(chunk_offsets + sequence)
        start = tl.load(cu_seqlens + sequence).to(tl.int64)
        length = (tl.load(cu_seqlens + sequence + 1) - start).to(tl.int32)
        batch = sequence * 0
    else:
        sequence = chunk_id // chunks
        chunk = chunk_id % chunks
        batch = sequence
        start = (chunk_id * 0).to(tl.int64)
        length = T
    return sequence, chunk, batch.to(tl.int64), start, length


@triton.jit
def locate_sequence(sequence, T, chunks, cu_seqlens, chunk_offsets, PACKED: tl.constexpr):
    """First chunk, number of chunks, row of the batch, first token and length, of one sequence."""
    if PACKED:
        first = tl.load(chunk_offsets + sequence)
        count = tl.load(chunk_offsets + sequence + 1) - first
        start = tl.load(cu_seqlens + sequence).to(tl.int64)
        length = (tl.load(cu_seqlens + sequence + 1) - start).to(tl.int32)
        batch = sequence * 0
    else:
        first = sequence * chunks
        count = chunks
        batch = sequence
        start = (sequence * 0).to(tl.int64)
        length = T
    return first, count, batch.to(tl.int64), start, length


@triton.jit
def log_sigmoid(x):
    u = tl.exp(-tl.abs(x))
    # log(1 + u); in float32 the sum drops a small u.
    return tl.minimum(x, 0.0) - tl.where(u < 1e-4, u - 0.5 * u * u, tl.log(1.0 + u))


@triton.jit
def split_exponents(x, WIDE: tl.constexpr):
    """Exponents in the precision of the pair matrix, and 2 to the power of what that rounds off.

    The sums over gates reach thousands, and a row whose q . n nearly vanishes shows every digit lost. The second factor
    goes on whole rows and columns, so that pairs cost no more than with plain rounding.
    """
    high = x.to(WIDE)
    if WIDE == tl.float32:  # noqa: SIM300
        rest = tl.where(tl.abs(high) < float("inf"), (x - high).to(tl.float32), 0.0)
        return high, tl.exp2(rest)
    else:
        return high, tl.full(x.shape, 1.0, tl.float64)


@triton.jit
def rounded_exponents(x, AUX: tl.constexpr):
    """As float32, where the products are in half precision anyway."""
    if AUX == tl.float32:  # noqa: SIM300
        return x
    else:
        return x.to(tl.float32)


@triton.jit
def maximum(a, b):
    return tl.maximum(a, b)


@triton.jit
def linear_step(value_a, keep_a, value_b, keep_b):
    """Composition of `x -> value + keep * x`, a first."""
    return value_b + keep_b * value_a, keep_a * keep_b


@triton.jit
def load_gates(
    igate, fgate, i_base, f_base, stride_it, stride_ft, tokens, mask, SIGMOID: tl.constexpr, WIDE: tl.constexpr
):
    """Logarithms, base 2, of what a token writes and of what it keeps; nothing written and all kept beyond the end.

    `WIDE` is the precision of the transcendental functions; sums over what is returned are float64.
    """
    f = tl.load(fgate + f_base + tokens * stride_ft, mask=mask, other=0.0).to(WIDE)
    i = tl.load(igate + i_base + tokens * stride_it, mask=mask, other=0.0).to(WIDE)
    keep = tl.where(mask, log_sigmoid(tl.maximum(f, GATE_FLOOR)), 0.0)
    if SIGMOID:
        i = log_sigmoid(i)
    write = tl.where(mask, i, float("-inf"))
    return write.to(tl.float64) * LOG2E, keep.to(tl.float64) * LOG2E


@triton.jit(do_not_specialize=["T", "chunks", "H"])
def chunk_summary_kernel(
    igate, fgate, totals, peaks, cu_seqlens, chunk_offsets, chunk_docs,
    stride_ib, stride_it, stride_ih, stride_fb, stride_ft, stride_fh, T, chunks, H,
    L: tl.constexpr, PACKED: tl.constexpr,
):  # fmt: skip
    """Per chunk: sum of the log forget gates, and the highest key weight seen from the start of the chunk."""
    pid = tl.program_id(0)
    head = pid % H
    chunk_id = pid // H
    _, chunk, batch, start, length = locate(chunk_id, T, chunks, cu_seqlens, chunk_offsets, chunk_docs, PACKED)
    local = chunk * L + tl.arange(0, L)
    i_base = batch * stride_ib + head.to(tl.int64) * stride_ih
    f_base = batch * stride_fb + head.to(tl.int64) * stride_fh
    write, keep = load_gates(
        igate, fgate, i_base, f_base, stride_it, stride_ft, start + local, local < length,
        SIGMOID=False, WIDE=tl.float64,
    )  # fmt: skip
    running = tl.cumsum(keep, 0)
    slot = chunk_id.to(tl.int64) * H + head
    tl.store(totals + slot, tl.sum(keep, 0))
    tl.store(peaks + slot, tl.max(write - running, 0))


@triton.jit(do_not_specialize=["T", "chunks", "H", "scale"])
def gate_kernel(
    igate, fgate, k_ptr, m_initial, totals, peaks, kexp_ptr, qexp_ptr, m_ptr, weight_ptr, decay_ptr, added_ptr, m_final,
    cu_seqlens, chunk_offsets, chunk_docs,
    stride_ib, stride_it, stride_ih, stride_fb, stride_ft, stride_fh, stride_kb, stride_kt, stride_kh, T, chunks, H,
    scale,
    K: tl.constexpr, L: tl.constexpr, BK: tl.constexpr, BLOCK: tl.constexpr, SIGMOID: tl.constexpr,
    HAS_STATE: tl.constexpr, PACKED: tl.constexpr,
):  # fmt: skip
    """`kexp`, `qexp`, `m` per token, the weight of each key at the end of its chunk, the decay over each chunk.

    Also what each chunk adds to the normaliser state, which the matrix kernels would have to reduce across warps.
    """
    pid = tl.program_id(0)
    head = pid % H
    chunk_id = pid // H
    sequence, chunk, batch, start, length = locate(chunk_id, T, chunks, cu_seqlens, chunk_offsets, chunk_docs, PACKED)
    m0 = tl.zeros([1], tl.float64)
    if HAS_STATE:
        m0 += tl.load(m_initial + sequence.to(tl.int64) * H + head).to(tl.float64) * LOG2E
    if not SIGMOID:
        first = chunk_id - chunk
        for block in range(0, chunk, BLOCK):
            earlier = block + tl.arange(0, BLOCK)
            slots = (first + earlier).to(tl.int64) * H + head
            total = tl.load(totals + slots, mask=earlier < chunk, other=0.0)
            peak = tl.load(peaks + slots, mask=earlier < chunk, other=float("-inf"))
            before = tl.cumsum(total, 0) - total
            m0 = tl.maximum(m0, tl.max(peak - before, 0)) + tl.sum(total, 0)

    local = chunk * L + tl.arange(0, L)
    mask = local < length
    dims = tl.arange(0, BK)
    k_rows = k_ptr + batch * stride_kb + head.to(tl.int64) * stride_kh + (start + local) * stride_kt
    # Each block of the keys is asked for before the work on what comes before it: the first before the scans.
    k = tl.load(k_rows[:, None] + dims[None, :], mask=mask[:, None] & (dims < K)[None, :], other=0.0)
    i_base = batch * stride_ib + head.to(tl.int64) * stride_ih
    f_base = batch * stride_fb + head.to(tl.int64) * stride_fh
    write, keep = load_gates(
        igate, fgate, i_base, f_base, stride_it, stride_ft, start + local, mask, SIGMOID, tl.float64
    )
    running = tl.cumsum(keep, 0)
    if SIGMOID:
        kexp = write - running
        qexp = -running
        m = running * 0.0 + m0
        end = -tl.sum(keep, 0)
    else:
        kexp = write - running - m0
        qexp = tl.maximum(tl.associative_scan(kexp, 0, maximum), 0.0)
        m = running + m0 + qexp
        end = tl.maximum(tl.max(kexp, 0), 0.0)
    out = (batch * H + head) * T + start + local
    tl.store(kexp_ptr + out, kexp.to(kexp_ptr.dtype.element_ty), mask=mask)
    tl.store(qexp_ptr + out, qexp.to(qexp_ptr.dtype.element_ty), mask=mask)
    tl.store(m_ptr + out, m.to(m_ptr.dtype.element_ty), mask=mask)
    wide: tl.constexpr = added_ptr.dtype.element_ty
    weight = tl.exp2((kexp - end).to(wide))
    tl.store(weight_ptr + out, weight.to(weight_ptr.dtype.element_ty), mask=mask)
    slot = chunk_id.to(tl.int64) * H + head
    tl.store(decay_ptr + slot, tl.exp2((-end).to(wide)))
    for block in range(0, K, BK):
        weighted = k.to(wide) * (weight * scale)[:, None]
        tl.store(added_ptr + slot * K + dims, tl.sum(weighted, 0), mask=dims < K)
        dims = block + BK + tl.arange(0, BK)
        k = tl.load(k_rows[:, None] + dims[None, :], mask=mask[:, None] & (dims < K)[None, :], other=0.0)
    tl.store(
        m_final + sequence.to(tl.int64) * H + head + tl.zeros([L], tl.int32),
        (m * LN2).to(tl.float32),
        mask=local == length - 1,
    )


@triton.jit(do_not_specialize=["T", "chunks", "H", "boundary_tiles", "dqk_tiles", "plane"])
def gate_gradient_kernel(
    igate, fgate, gates_ptr, stats_ptr, sums_ptr, cross_ptr, boundary_ptr, end_ptr, carry_ptr, open_ptr, dm_final,
    digate, dfgate, dm_initial, cu_seqlens, chunk_offsets, chunk_docs,
    stride_ib, stride_it, stride_ih, stride_fb, stride_ft, stride_fh,
    T, chunks, H, boundary_tiles, dqk_tiles, plane,
    L: tl.constexpr, TILE: tl.constexpr, TILES: tl.constexpr, PARTS: tl.constexpr, BLOCK: tl.constexpr,
    SIGMOID: tl.constexpr, M_PATH: tl.constexpr, HAS_DSTATE: tl.constexpr, NEEDS_DM: tl.constexpr, PACKED: tl.constexpr,
):  # fmt: skip
    """Gradients of the raw gates, from the sums described in `triton_chunkwise_bwd`.

    `cross` has those between tiles of TILE tokens; `carry` and `open` sum up each chunk in TILES parts.
    """
    pid = tl.program_id(0)
    head = pid % H
    chunk_id = pid // H
    sequence, chunk, batch, start, length = locate(chunk_id, T, chunks, cu_seqlens, chunk_offsets, chunk_docs, PACKED)
    local = chunk * L + tl.arange(0, L)
    mask = local < length
    gates = (batch * H + head) * T + start + local
    in_chunk = mask & (local > chunk * L)
    qdq = tl.zeros([L], tl.float32)
    kdk = tl.zeros([L], tl.float32)
    kdk_before = tl.zeros([L], tl.float32)
    long_plane = tl.full([1], plane, tl.int64)
    for tile in range(0, dqk_tiles):
        qdq += tl.load(sums_ptr + tile * long_plane + gates, mask=mask, other=0.0)
        kdk_ptr = sums_ptr + (dqk_tiles + tile) * long_plane + gates
        kdk += tl.load(kdk_ptr, mask=mask, other=0.0)
        kdk_before += tl.load(kdk_ptr - 1, mask=in_chunk, other=0.0)
    parts = tl.arange(0, PARTS)
    boundary = boundary_ptr + (chunk_id.to(tl.int64) * H + head) * boundary_tiles
    across = tl.sum(tl.load(boundary + parts, mask=parts < boundary_tiles, other=0.0), 0)
    di = kdk + tl.load(sums_ptr + 2 * dqk_tiles * long_plane + gates, mask=mask, other=0.0)
    dlog_f = across + tl.load(sums_ptr + (2 * dqk_tiles + 1) * long_plane + gates, mask=mask, other=0.0)
    if TILE < L:
        # The first tile's tokens separate its earlier keys from the second tile's queries, the second's the reverse.
        in_first = local < chunk * L + TILE
        has_second = local * 0 + (chunk * L + TILE) < length
        di += tl.load(cross_ptr + gates, mask=mask & in_first & has_second, other=0.0)
        keys = tl.load(cross_ptr + gates - 1, mask=in_chunk & in_first & has_second, other=0.0)
        queries = tl.load(cross_ptr + gates, mask=mask & (in_first == 0), other=0.0)
        dlog_f += tl.where(in_first, tl.cumsum(keys, 0), tl.cumsum(queries, 0, reverse=True))
    dlog_f += tl.cumsum(qdq, 0, reverse=True) + tl.cumsum(kdk_before, 0)
    if M_PATH:
        count = tl.cdiv(length, L) * TILES
        first = (chunk_id - chunk) * TILES
        alive = tl.full([1], 1.0, tl.float32)
        carry = tl.zeros([1], tl.float32)
        for block in range((chunk + 1) * TILES, count, BLOCK):
            later = block + tl.arange(0, BLOCK)
            slots = (first + later).to(tl.int64) * H + head
            flow = tl.load(carry_ptr + slots, mask=later < count, other=0.0)
            closed = 1.0 - tl.load(open_ptr + slots, mask=later < count, other=1.0)
            reached = (tl.cumsum(closed, 0) - closed) == 0.0
            carry += alive * tl.sum(tl.where(reached, flow, 0.0), 0)
            alive = tl.where(tl.sum(closed, 0) > 0.0, 0.0, alive)
        if HAS_DSTATE:
            # The returned memory is divided by exp(m).
            final = end_ptr + (sequence.to(tl.int64) * H + head) * boundary_tiles
            dm_end = tl.load(dm_final + sequence.to(tl.int64) * H + head)
            dm_end -= tl.sum(tl.load(final + parts, mask=parts < boundary_tiles, other=0.0), 0)
            carry += alive * dm_end
        kexp = tl.load(gates_ptr + gates, mask=mask, other=float("-inf"))
        earlier = tl.load(gates_ptr + long_plane + gates - 1, mask=mask & (local > chunk * L), other=0.0)
        won = kexp > earlier
        kexp_next = tl.load(gates_ptr + gates + 1, mask=mask & (local + 1 < length), other=float("-inf"))
        qexp_here = tl.load(gates_ptr + long_plane + gates, mask=mask, other=float("inf"))
        is_last = local == chunk * L + L - 1
        keep = tl.where((kexp_next > qexp_here) & (is_last == 0), 0.0, 1.0)
        dm = tl.load(stats_ptr + 2 * long_plane + gates, mask=mask, other=0.0)
        value, kept = tl.associative_scan((dm, keep), 0, linear_step, reverse=True)
        dm = value + kept * carry
        di += tl.where(won, dm, 0.0)
        dlog_f += tl.where(won, 0.0, dm)
    tokens = start + local
    f = tl.load(fgate + batch * stride_fb + head.to(tl.int64) * stride_fh + tokens * stride_ft, mask=mask, other=0.0)
    f = f.to(tl.float32)
    out = (batch * T + tokens) * H + head
    df = tl.where(f < GATE_FLOOR, 0.0, dlog_f * tl.sigmoid(-f))
    if SIGMOID:
        i = tl.load(
            igate + batch * stride_ib + head.to(tl.int64) * stride_ih + tokens * stride_it, mask=mask, other=0.0
        )
        di = di * tl.sigmoid(-i.to(tl.float32))
    tl.store(digate + out, di.to(digate.dtype.element_ty), mask=mask)
    tl.store(dfgate + out, df.to(dfgate.dtype.element_ty), mask=mask)
    if NEEDS_DM:
        # The stabiliser of the initial state acts where the first forget gate does: on the memory it scales and in the
        # chain of maxima.
        first_token = (local == 0) & mask
        tl.store(dm_initial + sequence.to(tl.int64) * H + head + tl.zeros([L], tl.int32), dlog_f, mask=first_token)
