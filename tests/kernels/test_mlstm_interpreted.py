"""A small part of the mLSTM's Triton kernels, in Triton's interpreter, against the float64 recurrence."""

from __future__ import annotations

from collections.abc import Callable

CASES = """
{}, (1, 40, 1, 16, 16)
{"seed": 1}, (1, 40, 1, 16, 16)
{"state": False, "final": False}, (1, 20, 2, 16, 32)
{"input_gate": "sigmoid"}, (1, 40, 1, 16, 16)
{"normalize": False}, (1, 40, 1, 16, 16)
{"input_gate": "sigmoid", "normalize": False}, (1, 20, 1, 16, 16)
{"cu": [0, 20, 21, 50]}, (1, 50, 1, 16, 16)
{"gates": "extreme"}, (1, 40, 1, 16, 16)
{"learned": False}, (1, 40, 1, 16, 16)
{"learned": False, "gates": "extreme"}, (1, 40, 1, 16, 16)
{"learned": False, "cu": [0, 20, 21, 50]}, (1, 50, 1, 16, 16)
{"learned": False, "input_gate": "sigmoid"}, (1, 20, 1, 16, 16)
{"gates": "forget"}, (1, 20, 1, 16, 16)
{"gates": "keep"}, (1, 20, 1, 16, 16)
{}, (2, 35, 1, 24, 20)
{}, (1, 1, 1, 16, 16)
{}, (1, 20, 1, 80, 72)
"""
SCRIPT = """
import torch
import mlstm_cases as cases
from xlstm_apps.kernels.mlstm import reference, triton
def check(line):
    case, shape = eval(line)
    tolerance = 1e-4 if case.get("gates") == "extreme" else 1e-5  # on chip, q . k is not summed in float64
    try:
        cases.check(triton, tolerance, *shape, **{"chunk_size": 16, **case})
    except AssertionError as error:
        raise AssertionError(line) from error
for line in CASES.strip().splitlines():
    check(line)
# Calls that want h alone go a shorter way.
def check_alone(T, chunk_size, **case):
    inputs, weights, options = cases.make(2, T, 2, 16, 20, state=False, chunk_size=chunk_size, **case)
    inputs = [x.requires_grad_() for x in inputs]
    results = cases.run(triton, inputs, weights, options, final=False)
    names = ("normalize", "eps", "scale", "chunk_size")
    kind = (False, options["input_gate"] == "sigmoid", *(options[x] for x in names))
    h = triton._Output.apply(triton.triton_call.find(*inputs, None, *kind), kind, *inputs)
    gradients = torch.autograd.grad((h * weights[0]).sum(), inputs)
    for x, y in zip((h, *gradients), (results[0], *results[4:]), strict=True):
        torch.testing.assert_close(x, y)
    with torch.no_grad():
        call = triton.triton_call.find(*inputs, None, *kind)
        torch.testing.assert_close(triton.output(call, *inputs, False)[0], h)
for T in (9, 40):
    for gate in ("exp", "sigmoid"):
        check_alone(T, 16, input_gate=gate)
check_alone(40, 16, normalize=False)
# The kernels of larger heads, on small ones: two in the middle range, and the general ones.
kinds = triton.triton_call
plain = kinds.Call
for medium in (True, False):
    class Larger(plain):
        def _chunk(self, chunk_size):
            self.small, self.medium = False, medium
            return chunk_size
    kinds.Call = Larger
    kinds._calls.clear()
    check_alone(40, 32)
    check('{"chunk_size": 32}, (1, 70, 1, 16, 32)')
    check('{"chunk_size": 32, "cu": [0, 31, 33, 70]}, (1, 70, 1, 16, 16)')
    check('{"chunk_size": 32, "input_gate": "sigmoid", "state": False, "final": False}, (1, 40, 1, 16, 16)')
kinds.Call = plain
# Hooks may bring saved tensors back with other strides.
inputs, weights, options = cases.make(1, 20, 2, 16, 16, chunk_size=16)
inputs[:5] = (x.transpose(1, 2).contiguous().transpose(1, 2) for x in inputs[:5])
plain = cases.run(triton, inputs, weights, options)
with torch.autograd.graph.saved_tensors_hooks(lambda x: x.clone(memory_format=torch.contiguous_format), lambda x: x):
    for x, y in zip(cases.run(triton, inputs, weights, options), plain):
        torch.testing.assert_close(x, y)
# Steps, in place too: one tile of columns, and several, whose normaliser takes a launch of its own.
for V in (20, 80):
    for gate in ("exp", "sigmoid"):
        inputs, _, options = cases.make(2, 1, 2, 12, V, input_gate=gate)
        step = {name: options[name] for name in ("input_gate", "normalize", "eps", "scale")}
        arguments = [x[:, 0] for x in inputs[:5]]
        state = reference.MLSTMState(*inputs[5:])
        (h, new), (h_true, truth) = (m.mlstm_step(*arguments, state, **step) for m in (triton, reference))
        for x, y in zip((h, *new), (h_true, *truth)):
            torch.testing.assert_close(x, y)
        own = reference.MLSTMState(*(x.clone() for x in state))
        assert torch.equal(triton.mlstm_step_inplace(*arguments, own, **step), h)
        assert all(torch.equal(x, y) for x, y in zip(own, new))
        registered = [x.clone() for x in state]
        options = (gate == "sigmoid", step["normalize"], step["eps"], step["scale"])
        assert torch.equal(torch.ops.xlstm_apps.mlstm_triton_step_inplace(*arguments, *registered, *options), h)
        assert all(torch.equal(x, y) for x, y in zip(registered, new))
"""
HALF_SCRIPT = """
import interpreter_bfloat16
interpreter_bfloat16.apply()
import torch
import mlstm_cases as cases
from xlstm_apps.kernels.mlstm import triton
triton.INTERPRETED = False  # or half precision would be widened first
for shape in ((1, 70, 2, 32, 32), (1, 90, 1, 64, 48), (1, 140, 1, 80, 96), (1, 270, 1, 144, 96)):
    cases.check(triton, 6e-3, *shape, dtype=torch.bfloat16, seed=1)
for shape in ((1, 130, 1, 64, 64), (1, 130, 1, 128, 128)):
    cases.check(triton, 6e-3, *shape, dtype=torch.bfloat16, gates="extreme")  # rows that hang on one key
"""


def test_kernels_in_the_interpreter(run_in_the_interpreter: Callable[[str], str]) -> None:
    run_in_the_interpreter(f"CASES = '''{CASES}'''\n{SCRIPT}")


def test_half_precision_in_the_interpreter(run_in_the_interpreter: Callable[[str], str]) -> None:
    run_in_the_interpreter(HALF_SCRIPT)
