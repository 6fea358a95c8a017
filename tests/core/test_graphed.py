"""Losses as CUDA graphs: the same as without them."""

import pytest
import torch
from torch import nn

from xlstm_apps.core.graphed import GraphedLoss, capture, recording


class Network(nn.Module):
    def __init__(self, dropout: float = 0.0):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(6, 16), nn.BatchNorm1d(16), nn.SiLU(), nn.Dropout(dropout), nn.Linear(16, 3)
        )
        self.unused = nn.Parameter(torch.ones(2))

    def loss(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return (self.body(x).float().square() * weight).sum(-1)


def batch(rows: int, device: torch.device | str) -> dict[str, torch.Tensor]:
    return {"x": torch.randn(rows, 6, device=device), "weight": torch.rand(rows, 3, device=device)}


def gradients(network: nn.Module) -> list[torch.Tensor]:
    return [p.grad.clone() for p in network.parameters() if p.grad is not None]


def test_without_a_gpu_the_loss_is_computed_as_it_is():
    network = Network()
    graphed, given = GraphedLoss(network, network.loss), batch(4, "cpu")
    torch.testing.assert_close(graphed(**given), network.loss(**given))
    assert not graphed.captured and not recording()


@pytest.mark.gpu
@pytest.mark.parametrize("half", [False, True])
def test_losses_gradients_and_statistics_are_those_without_graphs(gpu, half):
    network, plain = Network().to(gpu).train(), Network().to(gpu).train()
    plain.load_state_dict(network.state_dict())
    graphed = GraphedLoss(network, network.loss)
    optimizers = [torch.optim.SGD(own.parameters(), 0.1) for own in (network, plain)]
    for rows in (8, 8, 5, 8):  # the third is not shaped as the first was
        given = batch(rows, gpu)
        for optimizer, loss in zip(optimizers, (graphed, plain.loss), strict=True):
            optimizer.zero_grad()
            with torch.autocast(gpu.type, torch.bfloat16, enabled=half):
                loss(**given).mean().backward()
            optimizer.step()
        for got, want in zip(gradients(network), gradients(plain), strict=True):
            torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-4)
    assert graphed.captured
    for (name, got), want in zip(network.named_buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.gpu
def test_every_replay_draws_anew_and_a_seed_repeats_it(gpu):
    network = Network(dropout=0.5).to(gpu).train()
    graphed, given = GraphedLoss(network, network.loss), batch(8, gpu)

    def drawn(seed: int) -> list[float]:
        torch.manual_seed(seed)
        return [round(float(graphed(**given).detach().sum()), 4) for _ in range(4)]

    before = torch.cuda.get_rng_state()
    graphed(**given)
    first = drawn(1)
    assert graphed.captured and len(set(first)) == 4
    assert drawn(1) == first != drawn(2)
    torch.cuda.set_rng_state(before)


@pytest.mark.gpu
def test_trials_and_captures_are_told_from_other_calls(gpu):
    network, seen = Network().to(gpu).train(), []

    def loss(**given: torch.Tensor) -> torch.Tensor:
        seen.append(recording())
        return network.loss(**given)

    graphed = GraphedLoss(network, loss)
    for rows in (8, 8, 5):
        graphed(**batch(rows, gpu)).sum().backward()
    assert graphed.captured and len(seen) > 2 and seen == [True] * (len(seen) - 1) + [False]
    assert not recording()


@pytest.mark.gpu
def test_a_captured_pass_is_that_of_new_values(gpu):
    network, given, seen = Network().to(gpu).eval(), batch(8, gpu), []

    def call() -> torch.Tensor:
        seen.append(recording())
        with torch.inference_mode():
            return network.loss(**given)

    replay = capture(call)
    assert seen == [True] * 3 and not recording()
    given["x"].normal_()
    torch.testing.assert_close(replay(), call(), rtol=1e-5, atol=1e-5)
    assert len(seen) == 4


@pytest.mark.gpu
def test_where_there_is_no_room_nothing_is_captured(gpu, monkeypatch):
    network = Network().to(gpu).train()
    graphed, given = GraphedLoss(network, network.loss), batch(8, gpu)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 0))
    graphed(**given).sum().backward()
    assert not graphed.captured
    assert gradients(network)
