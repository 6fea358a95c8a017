"""Weights of the members: the better count for more, and none is believed for a gain that chance explains."""

import pytest
import torch

from xlstm_apps.forecasting.weights import member_weights

MEMBERS = ("naive", "ridge", "nlinear", "mixer", "patch")


def weights(errors: list[float], independent: float, members: tuple[str, ...] = MEMBERS) -> list[float]:
    return member_weights(torch.tensor(errors), members, independent).tolist()


def test_the_better_count_for_more_and_a_failed_one_for_nothing():
    naive, ridge, nlinear, mixer, patch = weights([1.0, 0.5, 0.52, 0.48, float("inf")], 30)
    assert mixer > ridge > nlinear > naive and naive < 1e-4 and patch == 0
    assert naive + ridge + nlinear + mixer == pytest.approx(1)


def test_a_gain_within_chance_leans_to_what_needs_no_training():
    prices = [1.0, 0.99, 0.98, 0.97, 0.99]  # 3 % better than the last value
    assert sum(weights(prices, 4)[:2]) > 0.85
    shares = [sum(weights(prices, independent)[2:]) for independent in (2, 10, 100, 1000)]
    assert shares == sorted(shares) and shares[-1] > 0.5
    assert weights([0.9, 0.9, 1.0, 1.0, 1.0], 4) == pytest.approx([0.5, 0.5, 0, 0, 0])  # nothing beats it


def test_a_significant_gain_changes_nothing():
    errors = [1.0, 0.5, 0.45, 0.4, 0.42]
    trained = [errors[0] * 100, *errors[1:]]  # were the last value hopeless, the others would share alike
    assert weights(errors, 4)[1:] == pytest.approx(weights(trained, 4)[1:], rel=1e-2)
    assert weights(errors[1:], 4, MEMBERS[1:]) == pytest.approx(weights(errors, 4)[1:], rel=1e-2)


def test_the_share_that_costs_a_factor_e_grows_where_windows_are_few():
    def of(independent: float) -> list[float]:
        return weights([1.0, 1.05, 3.0], independent, ("nlinear", "mixer", "patch"))

    sure, unsure = of(30), of(1)
    assert sum(sure) == pytest.approx(1) and sum(unsure) == pytest.approx(1)
    assert sure[1] / sure[0] == pytest.approx(torch.e**-1, rel=1e-3) and sure[2] < 1e-10
    assert sure[0] > unsure[0] > unsure[1] > unsure[2] > sure[2]
