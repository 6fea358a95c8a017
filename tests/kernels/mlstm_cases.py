"""Random mLSTM calls, and their comparison with the float64 recurrence. Plain functions, for tests and benchmarks."""

from __future__ import annotations

import torch

from xlstm_apps.kernels.mlstm import reference
from xlstm_apps.kernels.state import MLSTMState

NAMES = ("h", "c", "n", "m", "dq", "dk", "dv", "di", "df", "dc0", "dn0", "dm0")


def make(B, T, H, K, V, *, dtype=torch.float32, gates="random", state=True, cu=None, device="cpu", seed=0, **options):
    """Inputs, weights of a plain linear loss on outputs and final state, options."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def coin(value):
        return torch.where(torch.rand(B, T, H, generator=generator) < 0.5, value, -value).double()

    q, k, v, i, f = normal(B, T, H, K), normal(B, T, H, K), normal(B, T, H, V), normal(B, T, H), normal(B, T, H)
    if gates == "random":
        f = 3 + f
    elif gates == "extreme":
        i, f = coin(30.0) + i, coin(30.0) + f
    elif gates == "forget":
        f = torch.full_like(f, -30.0)
    elif gates == "keep":
        f = torch.full_like(f, 30.0)
    elif gates == "constant":
        i, f = torch.zeros_like(i), torch.ones_like(f)
    else:
        raise ValueError(gates)
    N = B if cu is None else len(cu) - 1
    state_shapes = ((N, H, K, V), (N, H, K), (N, H))
    inputs = [x.to(dtype) for x in (q, k, v)] + [x.float() for x in (i, f)]
    if state:
        inputs += [normal(*s).float() for s in state_shapes]
    weights = [normal(B, T, H, V).to(dtype)] + [normal(*s).float() for s in state_shapes]
    options = {"input_gate": "exp", "normalize": True, "eps": 1e-6, "scale": K**-0.5, "chunk_size": None} | options
    options["cu_seqlens"] = None if cu is None else torch.tensor(cu, dtype=torch.int32, device=device)
    return [x.to(device) for x in inputs], [x.to(device) for x in weights], options


def run(module, inputs, weights, options, *, final=True, learned=True):
    """Outputs, final state and all gradients, in the order of NAMES; of the initial state if it is `learned`."""
    inputs = [x.detach().requires_grad_(learned or i < 5) for i, x in enumerate(inputs)]
    memory = MLSTMState(*inputs[5:]) if len(inputs) > 5 else None
    inputs = [x for x in inputs if x.requires_grad]
    h, last = module.mlstm(*inputs[:5], memory, **options)
    outputs = [h, *last]
    loss = sum((x * w.to(x.dtype)).sum() for x, w in zip(outputs if final else outputs[:1], weights, strict=False))
    gradients = torch.autograd.grad(loss, inputs, allow_unused=True)
    return outputs + [torch.zeros_like(x) if g is None else g for g, x in zip(gradients, inputs, strict=True)]


def errors(module, *shape, final=True, floor=1e-3, learned=True, **case):
    """Norm of the difference over norm of the truth (at least `floor` per element), per output and gradient.

    What the stabiliser of the initial state gets is all but cancelled by what its memory gets (the output hardly
    depends on it), so that one counts against 1, and not at all with extreme gates.
    """
    inputs, weights, options = make(*shape, **case)
    which = {"final": final, "learned": learned}
    found = run(module, inputs, weights, options, **which)
    truth = run(reference, [x.double() for x in inputs], [x.double() for x in weights], options, **which)
    result = {}
    for name, a, b in zip(NAMES, found, truth, strict=False):
        assert a.shape == b.shape, name
        if name == "dm0" and case.get("gates") == "extreme":
            continue
        least = (1.0 if name == "dm0" else floor) * b.numel() ** 0.5
        result[name] = ((a.double() - b).norm() / b.norm().clamp(min=least)).item()
    return result


def rounding_of_the_memory(*shape, dtype, **case):
    """How far the exact gradient of the initial normaliser moves when the initial memory is rounded as kernels keep it.

    By name, as in `errors`; empty where there is no such gradient.
    """

    class Rounded:
        @staticmethod
        def mlstm(*inputs, **options):
            *tensors, state = inputs
            rounded = state.c + (state.c.to(dtype).to(state.c) - state.c).detach()
            return reference.mlstm(*(x.double() for x in tensors), state._replace(c=rounded), **options)

    return {name: e for name, e in errors(Rounded, *shape, dtype=dtype, **case).items() if name == "dn0"}


def check(module, tolerance, *shape, more=None, **case):
    """Assert that every error is within the tolerance, plus what `more` says for its name; NaN is not."""
    result = errors(module, *shape, **case)
    allowed = {name: tolerance + (more or {}).get(name, 0.0) for name in result}
    assert all(e <= allowed[name] for name, e in result.items()), {n: f"{e:.1e}" for n, e in result.items()}
