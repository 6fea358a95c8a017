"""Token after token: in place, and on a GPU as replays of a CUDA graph; always the same tokens."""

import logging

import pytest
import torch

from xlstm_apps.core import decoding, xLSTMConfig, xLSTMLanguageModel
from xlstm_apps.core.decoding import GenerationStep, decode
from xlstm_apps.core.sampling import sample

VOCAB = 17
KINDS = {
    "mixed": {"slstm_at": (1,)},
    "slstm": {"slstm_at": "all"},
    "no-conv": {"conv1d_kernel_size": 0},
    "large": {"family": "xlstm-large", "slstm_at": (1,)},
}


def make(kind="mixed", heads=2, dim=24, blocks=2):
    sizes = {"embedding_dim": dim, "num_blocks": blocks, "num_heads": heads, "proj_round_to": 8}
    config = xLSTMConfig(**sizes, **KINDS[kind])
    model = xLSTMLanguageModel(config, VOCAB)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return model.eval()


def tensors_of(state):
    return [x for cell, conv in state.blocks for x in (*cell, conv) if x is not None]


@pytest.fixture(params=KINDS)
def model(request):
    return make(request.param)


@torch.no_grad()
def test_steps_in_place_are_the_steps(model):
    ids = torch.randint(VOCAB, (3, 6))
    _, state = model(ids[:, :2], return_state=True)
    own = state.clone()
    addresses = [x.data_ptr() for x in tensors_of(own)]
    for t in range(2, 6):
        before = state.clone()
        expected, new = model.step(ids[:, t], state)
        assert all(torch.equal(x, y) for x, y in zip(tensors_of(state), tensors_of(before), strict=True))
        logits, returned = model.step(ids[:, t], own, inplace=True)
        assert returned is own and torch.equal(logits, expected)
        assert all(torch.equal(x, y) for x, y in zip(tensors_of(own), tensors_of(new), strict=True))
        state = new
    assert [x.data_ptr() for x in tensors_of(own)] == addresses


def test_a_step_in_place_needs_a_state_and_no_gradients(model):
    with pytest.raises(ValueError, match="inplace=True needs a state"):
        model.step(torch.zeros(1, dtype=torch.long), inplace=True)
    with pytest.raises(ValueError, match=r"torch.no_grad"):
        model.step(torch.zeros(1, dtype=torch.long), model.initial_state(1), inplace=True)


def test_the_state_given_stays_what_it_was(model):
    with torch.no_grad():
        _, state = model(torch.randint(VOCAB, (1, 4)), return_state=True)
    before = state.clone()
    prompts = [torch.randint(VOCAB, (n,)) for n in (1, 3)]
    model.generate(prompts, 5, state=state)
    assert all(torch.equal(x, y) for x, y in zip(tensors_of(state), tensors_of(before), strict=True))


class Recording:
    """Stands for a CUDA graph: a call of it does what the step did, on the same tensors."""

    def __init__(self):
        self.recorded = self.replayed = 0

    def __call__(self, step, generators):
        self.recorded += 1
        addresses = self.addresses(step)

        def replay():
            self.replayed += 1
            assert self.addresses(step) == addresses
            step()

        return replay

    @staticmethod
    def addresses(step):
        return [x.data_ptr() for x in (step.token, step.going, *tensors_of(step.state))]


@torch.no_grad()
def first_step(model, ids, eos=(), **options):
    logits, state = model(ids, return_state=True)
    options["generator"] = torch.Generator().manual_seed(3)

    def sampling(x):
        return sample(x, **options)

    return GenerationStep(model, sampling(logits[:, -1]), state, torch.tensor(eos, dtype=torch.long), sampling)


@pytest.mark.parametrize("options", [{}, {"temperature": 1.3, "top_k": 9, "top_p": 0.9}])
@torch.no_grad()
def test_a_recorded_step_gives_the_same_tokens(model, options, monkeypatch):
    ids = torch.randint(VOCAB, (3, 4))
    plain = decode(first_step(model, ids, **options), 20, False)
    if not options:
        assert torch.equal(torch.cat([ids, plain], 1), model.generate(ids, 20))
    recording = Recording()
    monkeypatch.setattr(decoding, "record_cuda_graph", recording)
    assert torch.equal(decode(first_step(model, ids, **options), 20, True), plain)
    assert (recording.recorded, recording.replayed) == (1, 19 - decoding.WARM_UP)
    # On the CPU nothing is recorded of itself.
    assert torch.equal(decode(first_step(model, ids, **options), 20, None), plain)
    assert recording.recorded == 1


@torch.no_grad()
def test_recorded_steps_end_soon_after_the_last_row(monkeypatch):
    model, ids = make(), torch.randint(VOCAB, (3, 4))
    free = decode(first_step(model, ids), 60, False)
    eos = [int(row[5]) for row in free]  # every row ends with its sixth token, or before
    plain = decode(first_step(model, ids, eos), 60, False)
    assert plain.shape[1] <= 6
    monkeypatch.setattr(decoding, "record_cuda_graph", Recording())
    recorded = decode(first_step(model, ids, eos), 60, True)
    assert plain.shape[1] <= recorded.shape[1] <= plain.shape[1] + decoding.ENDS_EVERY
    assert torch.equal(recorded, free[:, : recorded.shape[1]])


@torch.no_grad()
def test_what_cannot_be_recorded_runs_step_by_step(monkeypatch, caplog):
    def refuse(step, generators):
        raise RuntimeError("operation not permitted when stream is capturing\nwith more lines")

    monkeypatch.setattr(decoding, "record_cuda_graph", refuse)
    monkeypatch.setattr(decoding, "worth_recording", lambda *_: True)  # as on a GPU
    model, ids = make(), torch.randint(VOCAB, (2, 4))
    expected = decode(first_step(model, ids), 12, False)
    with pytest.raises(RuntimeError, match="not permitted"):
        decode(first_step(model, ids), 12, True)
    with caplog.at_level(logging.WARNING, "xlstm_apps"):
        assert torch.equal(decode(first_step(model, ids), 12, None), expected)
    assert "step by step (it cannot be recorded: operation not permitted when stream is capturing)" in caplog.text


def test_a_graph_on_the_cpu_is_refused():
    with pytest.raises(ValueError, match="cuda_graph=True needs a model on CUDA, but it is on cpu"):
        make().generate(torch.zeros(1, 2, dtype=torch.long), 3, cuda_graph=True)


def test_draws_are_those_of_torch():
    logits = torch.randn(200, VOCAB)
    drawn = sample(logits, temperature=1.0, generator=torch.Generator().manual_seed(1))
    expected = torch.multinomial(logits.softmax(-1), 1, generator=torch.Generator().manual_seed(1))
    assert torch.equal(drawn, expected.squeeze(-1))


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [1, 5])
def test_graphs_give_the_same_tokens(gpu, kind, dtype, batch) -> None:
    model = make(kind, heads=4, dim=256, blocks=4).to(gpu, dtype)
    ids = torch.randint(VOCAB, (batch, 7), device=gpu)
    assert torch.equal(model.generate(ids, 100, cuda_graph=True), model.generate(ids, 100, cuda_graph=False))
    prompts = [torch.randint(VOCAB, (n,), device=gpu) for n in (5, 1, 8, 5, 2)[:batch]]
    texts = [model.generate(prompts, 50, cuda_graph=graph) for graph in (True, False, None)]
    for a, b, c in zip(*texts, strict=True):
        assert torch.equal(a, b) and torch.equal(a, c)


@pytest.mark.gpu
@pytest.mark.parametrize("own", [True, False])
def test_graphs_draw_the_same_tokens(gpu, own) -> None:
    model, ids = make(dim=64).to(gpu), torch.randint(VOCAB, (6, 3), device=gpu)

    def text(graph: bool) -> torch.Tensor:
        torch.cuda.manual_seed(5)
        generator = torch.Generator(gpu).manual_seed(5) if own else None
        options = {"temperature": 1.2, "top_k": 12, "top_p": 0.95, "generator": generator}
        return torch.cat([model.generate(ids, 60, **options, cuda_graph=graph) for _ in range(2)])

    graphed, plain = text(True), text(False)
    assert torch.equal(graphed, plain)
    assert not torch.equal(graphed[:6], graphed[6:])


@pytest.mark.gpu
def test_texts_of_graphs_end_at_their_eos(gpu) -> None:
    model, ids = make(dim=64).to(gpu), torch.randint(VOCAB, (4, 3), device=gpu)
    free = model.generate(ids, 80, cuda_graph=False)
    for eos in ([int(free[0, 20]), int(free[2, 33])], [int(row[30]) for row in free], list(range(VOCAB))):
        a, b = (model.generate(list(ids), 80, eos_id=eos, cuda_graph=graph) for graph in (True, False))
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.gpu
def test_a_step_that_waits_for_the_device_is_not_recorded(gpu, caplog) -> None:
    model, ids = make(dim=64).to(gpu), torch.randint(VOCAB, (2, 3), device=gpu)
    expected = model.generate(ids, 40, cuda_graph=False)
    hook = model.head.register_forward_hook(lambda module, inputs, output: output * float(output.isfinite().all()))
    with caplog.at_level(logging.WARNING, "xlstm_apps"):
        assert torch.equal(model.generate(ids, 40), expected)
    assert "without a CUDA graph" in caplog.text
    hook.remove()
    caplog.clear()
    assert torch.rand(5, device=gpu).unique().numel() == 5  # the source of randomness has survived
    assert torch.equal(model.generate(ids, 40), expected)  # and the device is as it was
    assert "without a CUDA graph" not in caplog.text
