"""Weights of the members: the better count for more, and simple ones join where no gain over them is sure."""

import pytest
import torch

from xlstm_apps.forecasting.weights import DEVIATION, ERRORS, Held, member_weights, significance, trust

MEMBERS = ("naive", "ridge", "nlinear", "mixer", "patch")


def held(errors: list[float], blocks: int = 30) -> Held:
    """Forecasts that are off by so much in every window, one window a block."""
    forecasts = torch.tensor(errors)[:, None, None, None].expand(-1, blocks, 2, 1)
    shape = forecasts.shape[1:]
    return Held(forecasts, torch.zeros(shape), torch.ones(shape, dtype=torch.bool), torch.arange(blocks))


def weights(errors: list[float], blocks: int = 30, members: tuple[str, ...] = MEMBERS) -> list[float]:
    return member_weights(held(errors, blocks), members, blocks).tolist()


def test_the_better_count_for_more_and_a_failed_one_for_nothing():
    naive, ridge, nlinear, mixer, patch = weights([1.0, 0.5, 0.6, 0.48, float("nan")], 300)
    assert mixer > ridge > nlinear > naive and naive < 1e-4 and patch == 0
    assert naive + ridge + nlinear + mixer == pytest.approx(1)


def test_the_share_that_costs_a_factor_e_grows_where_windows_are_few():
    sure, unsure = (trust(torch.tensor([1.0, 1.05, 3.0]), n).tolist() for n in (30, 1))
    assert sum(sure) == pytest.approx(1) and sum(unsure) == pytest.approx(1)
    assert sure[1] / sure[0] == pytest.approx(torch.e**-1, rel=1e-3) and sure[2] < 1e-10
    assert sure[0] > unsure[0] > unsure[1] > unsure[2] > sure[2]


def test_a_gain_is_significant_from_some_standard_errors_on():
    counts, theirs = torch.full((4,), 10.0), torch.full((4,), 10.0)
    needed = ERRORS * DEVIATION / 4  # four blocks and the one seen before, alike
    assert float(significance(theirs, theirs, counts)) == 0
    assert float(significance(2 * theirs, theirs, counts)) == 0
    assert float(significance((1 - needed / 2) * theirs, theirs, counts)) == pytest.approx(0.5, rel=1e-4)
    assert float(significance((1 - 2 * needed) * theirs, theirs, counts)) == 1
    uneven = theirs * (1 - needed / 2 + torch.tensor([0.3, -0.3, 0.3, -0.3]))
    assert 0 < float(significance(uneven, theirs, counts)) < 0.4


def test_simple_members_join_where_nothing_beats_them_for_sure():
    prices = [1.0, 0.99, 0.98, 0.97, 0.99]  # 3 % better than the last value
    naive, _, nlinear, mixer, _ = weights(prices, 4)
    assert naive > 0.3 and nlinear > 0.3 and mixer < 0.12
    shares = [weights(prices, blocks)[0] for blocks in (4, 10, 100)]
    assert shares == sorted(shares, reverse=True) and weights(prices, 1000)[0] < 0.2
    joined = weights([0.5, 1.0, 0.9, 1.0, 1.0], 30)  # nothing beats it
    assert joined[0] == pytest.approx(float(trust(torch.tensor([0.5, 1, 0.9, 1, 1]), 30)[0] + 1) / 2, abs=1e-3)


def test_gains_that_vary_from_block_to_block_are_believed_less():
    calm, members = held([1.0, 0.8], 20), ("naive", "mixer")
    uneven = torch.tensor([0.1, 1.5]).repeat(10)  # 0.8 in the mean
    wild = calm._replace(forecasts=torch.stack([calm.forecasts[0], uneven[:, None, None].expand(-1, 2, 1)]))
    assert member_weights(calm, members, 20)[0] < 0.02
    assert member_weights(wild, members, 20)[0] > 0.1


def test_a_member_that_repeats_another_does_not_count_twice():
    with_it = weights([1.0, 1.0, 0.9, 0.95], 4, ("naive", "seasonal", "nlinear", "mixer"))
    assert with_it[1] == 0
    assert with_it[:1] + with_it[2:] == pytest.approx(weights([1.0, 0.9, 0.95], 4, ("naive", "nlinear", "mixer")))


def test_missing_targets_say_nothing():
    full = held([1.0, 0.5, 0.6, 0.48, 0.7], 12)
    known = full.known.clone()
    known[3], known[5, 1] = False, False
    garbage = full._replace(known=known, target=torch.where(known, full.target, float("nan")))
    kept = [i for i in range(12) if i != 3]
    without = full._replace(
        forecasts=full.forecasts[:, kept], target=full.target[kept], known=known[kept], block=torch.arange(11)
    )
    assert torch.equal(member_weights(garbage, MEMBERS, 12), member_weights(without, MEMBERS, 12))
    nothing = full._replace(known=torch.zeros_like(known))
    assert member_weights(nothing, MEMBERS, 12).tolist() == pytest.approx([0.2] * 5)
