"""Launches worked out once and repeated: the right addresses, never those of another kind of call. Needs no GPU."""

from types import SimpleNamespace

import pytest
import torch

triton = pytest.importorskip("triton", reason="needs Triton")

from xlstm_apps.kernels import kinds, triton_plan  # noqa: E402
from xlstm_apps.kernels.kinds import Kinds  # noqa: E402
from xlstm_apps.kernels.mlstm import api, triton_call  # noqa: E402
from xlstm_apps.kernels.triton_plan import Plan, Storage  # noqa: E402

F32, F64 = torch.float32, torch.float64


class Compiled:
    """What Triton returns of a launch, and what repeats it."""

    function, packed_metadata = "function", "metadata"

    def __init__(self, log):
        self.log = log

    def run(self, *args):
        self.log.append(("run", *args))

    def __getitem__(self, grid):
        return lambda *args: self.log.append(("listened to", grid, *args))


class Kernel(triton.JITFunction):
    arg_names = ("x_ptr", "y_ptr", "T", "L", "WIDE")  # pyright: ignore[reportAssignmentType]

    def __init__(self, log):
        self.log = log

    def __getitem__(self, grid):
        def launch(*args, **meta):
            self.log.append(("first", grid, args, meta))
            return Compiled(self.log)

        return launch


@pytest.fixture
def log(monkeypatch):
    monkeypatch.setattr(triton_plan, "driver", SimpleNamespace(active=SimpleNamespace(get_current_stream=lambda _: 5)))
    monkeypatch.setattr(triton_plan, "_VERSION", (3, 9))
    return []


def make_plan(log):
    plan = Plan(torch.device("cpu"))
    x = plan.tensor(F32)
    buffers = plan.storage()
    buffers.new(F32, 3)
    y = buffers.new(F64, 2, 8)
    plan.launch(Kernel(log), 7, x, y.part(8), 100, L=16, WIDE=True, num_warps=4)
    return plan, buffers


def tensors(buffers, x=None):
    return (torch.randn(4) if x is None else x), torch.empty(buffers.size, dtype=torch.uint8)


def test_a_repeat_gets_the_new_addresses(log):
    plan, buffers = make_plan(log)
    x, storage = tensors(buffers)
    plan.run((x, storage))
    (name, grid, args, meta), *_ = log
    assert (name, grid, args[2]) == ("first", (7,), 100)
    assert meta == {"L": 16, "WIDE": True, "num_warps": 4, "enable_fp_fusion": True}
    assert args[0] is x
    assert args[1].dtype == F64 and args[1].data_ptr() == storage.data_ptr() + 256 + 64
    log.clear()
    x, storage = tensors(buffers)
    plan.run((x, storage))
    pointers = (x.data_ptr(), storage.data_ptr() + 256 + 64)
    assert log == [("run", 7, 1, 1, 5, "function", "metadata", None, None, None, *pointers, 100, 16, True)]


def test_addresses_off_16_bytes_are_variants_of_their_own(log):
    plan, buffers = make_plan(log)
    four, eight = torch.randn(5)[1:], torch.randn(6)[2:]
    order = ((four, "first"), (None, "first"), (None, "run"), (four, "run"), (eight, "first"), (eight, "run"))
    for x, expected in order:
        log.clear()
        plan.run(tensors(buffers, x))
        assert [entry[0] for entry in log] == [expected]


def test_a_profiler_hears_of_repeats(log, monkeypatch):
    plan, buffers = make_plan(log)
    plan.run(tensors(buffers))
    monkeypatch.setattr(triton.knobs.runtime.launch_enter_hook, "calls", [print])
    log.clear()
    plan.run(tensors(buffers))
    assert log[0][:2] == ("listened to", (7, 1, 1))


@pytest.mark.parametrize("version", [(3, 4), (3, 10), (4, 0)])
def test_an_unknown_launcher_is_not_called_directly(log, monkeypatch, version):
    plan, buffers = make_plan(log)
    plan.run(tensors(buffers))
    log.clear()
    monkeypatch.setattr(triton_plan, "_VERSION", version)
    plan.run(tensors(buffers))
    assert [entry[0] for entry in log] == ["listened to"]


def test_buffers_of_a_storage_are_apart_and_aligned():
    storage = Storage(3)
    a, b, c = storage.new(torch.bfloat16, 3, 50), storage.new(F64, 0), storage.new(F32, 1)
    assert [x.offset for x in (a, b, c)] == [0, 512, 512]
    assert storage.size == 768 and {x.tensor for x in (a, b, c)} == {3}


def kind(B=2, T=70, *, dtype=torch.bfloat16, gate_dtype=F32, change=lambda x: x, cu=None, options=()):
    q, k, v = (change(torch.zeros(B, T, 2, 32, dtype=dtype)) for _ in range(3))
    gates = (torch.zeros(B, T, 2, dtype=gate_dtype) for _ in range(2))
    defaults = {"has_state": False, "sigmoid": False, "normalize": True, "eps": 1e-6, "scale": 0.5, "chunk_size": 0}
    return triton_call.find(q, k, v, *gates, cu, *(defaults | dict(options)).values())


def test_calls_that_differ_in_kind_are_told_apart(monkeypatch):
    monkeypatch.setattr(triton_call, "_calls", {})
    borders = torch.tensor([0, 30, 70], dtype=torch.int32)
    found = [
        kind(),
        kind(B=3),
        kind(T=71),
        kind(dtype=torch.float16),
        kind(gate_dtype=torch.bfloat16),
        kind(change=lambda x: x.transpose(1, 2).contiguous().transpose(1, 2)),
        kind(B=1),
        kind(B=1, cu=borders),
        kind(B=1, cu=borders.long()),
        kind(B=1, cu=torch.tensor([0, 70], dtype=torch.int32)),
        *(kind(options={name: True}) for name in ("has_state", "sigmoid")),
        kind(options={"normalize": False}),
        kind(options={"eps": 1e-5}),
        kind(options={"scale": 1.0}),
        kind(options={"chunk_size": 16}),
        kind(dtype=F32),
    ]
    monkeypatch.setattr(triton_call, "allows_tf32", lambda x: x.dtype == F32)
    found.append(kind(dtype=F32))
    assert len({id(x) for x in found}) == len(found) == len(triton_call._calls)
    assert found[-2].precision == "ieee" and found[-1].precision == "tf32x3"
    assert kind() is found[0]


def test_kinds_are_forgotten_before_they_fill_the_memory(monkeypatch):
    monkeypatch.setattr(triton_call, "_calls", Kinds())
    monkeypatch.setattr(kinds, "MOST", 3)
    for T in range(1, 10):
        kind(T=T)
        assert len(triton_call._calls) <= 3


def test_calls_once_checked_go_the_short_way_and_others_do_not(monkeypatch):
    made = []

    def prepare(q, k, v, igate, fgate, **options):
        made.append(options)
        number = len(made)
        return lambda *tensors: (number, *tensors)

    def refuse(*args, **options):
        raise LookupError  # what runs where there is no short way

    module = SimpleNamespace(prepare=prepare, mlstm=refuse)
    monkeypatch.setattr(api, "_prepared", Kinds())
    monkeypatch.setattr(api, "choose", lambda *_: module)

    def call(B=2, change=lambda x: x, gate_dtype=F32, **options):
        q, k, v = (change(torch.zeros(B, 5, 2, 4)) for _ in range(3))
        return api.mlstm(q, k, v, *torch.zeros(2, B, 5, 2, dtype=gate_dtype), **options)[0]

    def swapped(x):
        return x.transpose(1, 2).contiguous().transpose(1, 2)

    others = [
        {}, {"B": 3}, {"change": swapped}, {"gate_dtype": torch.bfloat16}, {"input_gate": "sigmoid"},
        {"normalize": False}, {"eps": 1e-3}, {"scale": 2.0}, {"chunk_size": 16}, {"backend": "torch"},
    ]  # fmt: skip
    assert [call(**x) for x in others] == list(range(1, 11))
    assert [call(**x) for x in others] == list(range(1, 11))
    monkeypatch.setenv("XLSTM_APPS_BACKEND", "reference")
    assert call() == 11
    assert made[7] == {"input_gate": "exp", "normalize": True, "eps": 1e-6, "scale": 2.0, "chunk_size": None}
    memory = api.MLSTMState(torch.zeros(2, 2, 4, 4), torch.zeros(2, 2, 4), torch.zeros(2, 2))
    for options in ({"return_state": True}, {"state": memory}):
        with pytest.raises(LookupError):
            call(**options)
    with pytest.raises(ValueError, match="v must have shape"):
        api.mlstm(*torch.zeros(2, 2, 5, 2, 4), torch.zeros(2, 4, 2, 4), *torch.zeros(2, 2, 5, 2))
    monkeypatch.setattr(kinds, "MOST", 3)
    call(B=7)
    assert len(api._prepared) == 1
