"""Quantiles from held-out errors: right where errors are known, wider where few are, never crossing."""

import pytest
import torch

from xlstm_apps.forecasting import Calibration, ErrorHistory, Policy, beyond_errors, normalised_errors, stretch
from xlstm_apps.forecasting.conformal import NORMAL, State, edges, prior, rho_at, step_groups, unit_rows

LEVELS = [0.1, 0.5, 0.9]
MANY = [0.01, 0.025, 0.1, 0.3, 0.49, 0.5, 0.51, 0.7, 0.9, 0.975, 0.99]


def state_of(errors: torch.Tensor, known: float = 1e6) -> State:
    """One unit, one group."""
    counts = torch.histc(torch.bucketize(errors, edges()[1:-1], right=True).float(), len(edges()) - 1, 0, 242)
    share = counts.cumsum(0) / counts.sum()
    return State(share[None, None], torch.tensor([[known]]), torch.tensor(NORMAL)[None, None])


def calibration(state: State, paths: torch.Tensor, horizon: int = 1, **options) -> Calibration:
    groups = int(step_groups(horizon)[-1]) + 1
    state = State(*(x.expand(2, groups, -1) if x.ndim == 3 else x.expand(2, groups) for x in state))
    typical = torch.full((2, 2), torch.nan)
    return Calibration(levels=LEVELS, state=state, typical=typical, channels=1, item_ids=None, paths=paths, **options)


def test_errors_are_measured_on_the_side_where_the_truth_fell():
    forecast = torch.tensor([[[[-2.0, 0.0, 1.0]], [[-2.0, 0.0, 1.0]]]])
    assert normalised_errors(forecast, torch.tensor([[[3.0], [-3.0]]]), LEVELS).flatten().tolist() == [3, -1.5]
    rho = torch.tensor([-1.5, 0.0, 3.0])
    assert stretch(forecast, rho, LEVELS)[0, 0, 0].tolist() == [-3, 0, 3]


def test_the_yardstick_is_half_way_to_the_typical_spread():
    forecast = torch.tensor([-4.0, 0.0, 1.0]).expand(1, 1, 2, 3)
    typical = torch.tensor([[1.0, 9.0], [torch.nan, torch.nan]]).reshape(1, 1, 2, 2)
    target = torch.tensor([[[3.0, 3.0]]])
    assert normalised_errors(forecast, target, LEVELS, typical).flatten().tolist() == [1, 3]
    assert normalised_errors(forecast, -target, LEVELS, typical).flatten().tolist() == [-1.5, -0.75]
    back = stretch(forecast, torch.tensor([[-1.5], [-0.75]]), LEVELS, typical)
    assert back.flatten().tolist() == [-3, -3]


@pytest.mark.parametrize(
    ("levels", "forecast", "expected"), [([0.5], [1.0], 2.0), ([0.5, 0.9], [1, 5.0], 0.5), ([0.1, 0.5], [0, 1.0], 2.0)]
)
def test_a_side_without_quantile_borrows_the_other_or_the_deviation(levels, forecast, expected):
    forecast = torch.tensor(forecast).reshape(1, 1, 1, -1)
    assert normalised_errors(forecast, torch.full((1, 1, 1), 3.0), levels).item() == pytest.approx(expected)


def test_quantiles_are_those_of_the_errors():
    errors = torch.distributions.StudentT(5.0).sample((200_000,))
    found = rho_at(state_of(errors), MANY)[0, 0]
    expected = errors.quantile(torch.tensor(MANY))
    torch.testing.assert_close(found, expected, rtol=0.03, atol=0.01)
    below = (errors[:, None] <= found).double().mean(0)
    torch.testing.assert_close(below, torch.tensor(MANY).double(), rtol=0, atol=0.005)


@pytest.mark.parametrize("shift", [-3.0, 0.0, 3.0])
def test_quantiles_never_cross_and_leave_the_median_where_it_is(shift):
    errors = torch.randn(500) + shift
    for read in (NORMAL, (0.5, 0.55), (0.5, 5.8), (3.0, 3.3)):
        state = state_of(errors, known=3.0)._replace(read=torch.tensor(read)[None, None])
        found = rho_at(state, MANY)[0, 0]
        assert (found.diff() >= 0).all() and found[5] == 0
        assert (found[:5] <= 0).all() and (found[6:] >= 0).all()


@pytest.mark.parametrize("dof", [3.0, 5.0, 20.0])
def test_few_errors_widen_as_students_t_does(dof):
    from scipy import stats

    errors = torch.randn(100_000)
    ratio = rho_at(state_of(errors, dof), [0.9, 0.975])[0, 0] / rho_at(state_of(errors), [0.9, 0.975])[0, 0]
    for found, level in zip(ratio.tolist(), (0.9, 0.975), strict=True):
        assert found == pytest.approx(stats.t.ppf(level, dof) / stats.norm.ppf(level), rel=0.06)


def test_equal_errors_count_as_inside():
    errors = torch.cat([torch.full((700,), -0.3), torch.full((300,), 2.0)])
    low, high = rho_at(state_of(errors), [0.1, 0.9])[0, 0].tolist()
    assert low <= -0.3 and high >= 2.0 and low > -0.34 and high < 2.3


@pytest.mark.parametrize("level", [0.0, 1.0, -0.2, 80])
def test_levels_out_of_range_are_refused(level):
    with pytest.raises(ValueError, match="between 0 and 1"):
        rho_at(state_of(torch.randn(10)), [level])


def test_prior_passes_through_the_models_own_quantiles():
    for low, high in ((0.1, 0.9), (0.025, 0.8)):
        share = prior(low, high)
        border = edges()[1:]
        assert share[(border - 1).abs().argmin()].item() == pytest.approx(high, abs=1e-3)
        assert share[(border + 1).abs().argmin()].item() == pytest.approx(low, abs=1e-3)
        assert (share.diff() >= 0).all() and share[-1] > 0.999


def test_units_of_known_and_unknown_series():
    assert unit_rows(2, torch.tensor([1, -1]), 6, 2, "cpu").tolist() == [[2, 3], [6, 6]]
    assert unit_rows(2, None, 6, 2, "cpu").tolist() == [[6, 6], [6, 6]]
    assert unit_rows(2, None, 2, 2, "cpu").tolist() == [[0, 1], [0, 1]]  # one series: its channels
    assert unit_rows(2, torch.tensor([3, 4]), 0, 2, "cpu").tolist() == [[0, 0], [0, 0]]


def test_steps_are_grouped_geometrically():
    assert step_groups(9).tolist() == [0, 1, 2, 2, 3, 3, 3, 3, 4]


def test_paths_have_the_calibrated_quantiles_and_hang_together():
    whole = torch.rand(400, 1, 1).expand(400, 5, 1)  # a window's errors are all of one share
    made = calibration(state_of(torch.randn(50_000)), whole, horizon=5)
    forecast = torch.tensor([-1.0, 0.0, 2.0]).expand(3, 5, 1, 3)
    paths = made.sample_paths(forecast, 4000, seed=1)
    assert paths.shape == (3, 4000, 5, 1)
    wanted = made.quantiles(forecast, [0.1, 0.25, 0.75, 0.9])[0, 0, 0]
    found = paths[0, :, 0, 0].quantile(torch.tensor([0.1, 0.25, 0.75, 0.9]))
    torch.testing.assert_close(found, wanted, rtol=0.1, atol=0.1)
    assert torch.corrcoef(paths[0, :, :, 0].T).min() > 0.99
    assert torch.equal(paths, made.sample_paths(forecast, 4000, seed=1))
    assert not torch.equal(paths, made.sample_paths(forecast, 4000, seed=2))


def test_saving_keeps_every_number(tmp_path):
    made = calibration(state_of(torch.randn(500)), torch.rand(7, 3, 1), horizon=3, report={"windows": 7})
    assert Calibration.load(tmp_path) is None
    made.save(tmp_path)
    again = Calibration.load(tmp_path)
    forecast = torch.randn(4, 3, 1, 3).sort(-1).values
    assert torch.equal(again.quantiles(forecast, MANY), made.quantiles(forecast, MANY))
    assert torch.equal(again.sample_paths(forecast, 5), made.sample_paths(forecast, 5))
    assert again.report == {"windows": 7} and again.levels == LEVELS
    with pytest.raises(ValueError, match="calibrated on 1 value columns, but the forecast has 2"):
        made.quantiles(torch.randn(4, 3, 2, 3), [0.5])


def history_of(errors: torch.Tensor, rows_per_block: int = 10) -> ErrorHistory:
    """One series forecast one step ahead, its errors in order."""
    blocks = -(-len(errors) // rows_per_block)
    history = ErrorHistory(1, 1, blocks, LEVELS, stride=1, rows_per_block=rows_per_block)
    block = torch.arange(len(errors))[:, None] // rows_per_block
    unit = torch.zeros(len(errors), 1, dtype=torch.int64)
    history.add(errors[:, None, None], torch.ones(len(errors), 1, 1, dtype=torch.bool), block, unit)
    return history


def covered(errors: torch.Tensor, policy: Policy, rows_per_block: int = 10) -> list[float]:
    track = history_of(errors, rows_per_block).track(policy, [0.025, 0.1, 0.9, 0.975])[:, 0, 0]
    rho = track[torch.arange(len(errors)) // rows_per_block][200:]
    errors = errors[200:]
    inside = [((errors >= rho[:, i]) & (errors <= rho[:, 3 - i])).double().mean().item() for i in (1, 0)]
    return inside


def test_counting_leaves_out_what_is_not_known():
    history = ErrorHistory(3, 2, 2, LEVELS, stride=1, rows_per_block=1)
    errors = torch.tensor([0.5, 1.5, -20.0]).reshape(1, 3, 1).expand(2, 3, 1)
    mask = torch.ones(2, 3, 1, dtype=torch.bool)
    mask[0, 2] = False
    block = torch.tensor([[0, 1, 1], [-1, 0, 1]])
    history.add(errors, mask, block, torch.tensor([[0], [1]]))
    counts = history.counts.view(2, 2, 3, -1)
    assert counts.sum(-1).tolist() == [[[1, 0, 0], [0, 1, 0]], [[0, 1, 0], [0, 0, 1]]]
    border = edges()
    for value, place in ((0.5, (0, 0, 0)), (1.5, (1, 0, 1)), (-20.0, (1, 1, 2))):
        i = int(counts[place].argmax())
        assert border[i] <= value < border[i + 1]


def test_nothing_said_before_a_block_depends_on_it():
    errors = torch.randn(300)
    changed = errors.clone()
    changed[150:] *= 50
    before, after = (history_of(e).track(Policy(), [0.1, 0.9]) for e in (errors, changed))
    assert torch.equal(before[:16], after[:16]) and not torch.equal(before[16:], after[16:])


@pytest.mark.parametrize("own", [0.3, 1.0, 4.0])
def test_intervals_cover_whatever_the_models_own_spread(own):
    inner, outer = covered(torch.randn(3000) / 1.28 * own, Policy())
    assert inner == pytest.approx(0.8, abs=0.02) and outer == pytest.approx(0.95, abs=0.02)


def test_intervals_follow_errors_that_grow():
    errors = torch.randn(4000) * torch.linspace(0, 3, 4000).exp()
    inner, outer = covered(errors, Policy())
    assert inner == pytest.approx(0.8, abs=0.02) and outer == pytest.approx(0.95, abs=0.015)
    forgetful, _ = covered(errors, Policy(half_life=1e9, gain=0.0))
    assert forgetful < 0.7


def test_units_with_few_errors_are_drawn_to_the_others():
    history = ErrorHistory(1, 3, 1, LEVELS, stride=1, rows_per_block=1)
    for unit, (many, scale) in enumerate([(2000, 1.0), (2000, 3.0), (2, 0.01)]):
        errors = scale * torch.randn(many, 1, 1)
        mask = torch.ones_like(errors, dtype=torch.bool)
        history.add(errors, mask, torch.zeros(many, 1).long(), torch.full((many, 1), unit))
    rho = history.track(Policy(gain=0.0), [0.9])[-1, :, 0, 0]
    assert rho[0] == pytest.approx(1.28, rel=0.15) and rho[1] == pytest.approx(3.8, rel=0.15)
    assert rho[2] > 0.7 * rho[3] > 1


@pytest.mark.parametrize("many, both", [(4, True), (4000, False)])
def test_few_errors_on_one_side_say_how_large_they_are_but_not_to_which_side(many, both):
    history = ErrorHistory(1, 1, 1, LEVELS, stride=1, rows_per_block=1)
    errors = torch.rand(many, 1, 1) + 1
    mask = torch.ones_like(errors, dtype=torch.bool)
    history.add(errors, mask, torch.zeros(many, 1).long(), torch.zeros(many, 1).long())
    low, high = history.track(Policy(gain=0.0), [0.1, 0.9])[-1, 0, 0]
    assert 1.5 < high < 3 and (low < -1) == both and (low > -0.1) != both


def test_a_validation_part_of_two_horizons_covers_a_random_walk():
    # Forecasts 50 steps ahead of a walk: errors of neighbouring rows are nearly one error.
    steps, rows = 50, 100
    inside = []
    for walk in torch.randn(40, rows + 9 * steps).cumsum(1):
        errors = (walk[steps:] - walk[:-steps]) / (1.28 * steps**0.5)
        history = ErrorHistory(steps, 1, 1, LEVELS, stride=1, rows_per_block=rows)
        every = errors[:rows, None, None].expand(-1, steps, 1)
        history.add(every, every == every, torch.zeros(rows, steps).long(), torch.zeros(rows, 1).long())
        low, high = history.track(Policy(gain=0.0), [0.1, 0.9])[-1, 0, -1]
        later = errors[rows + steps :]
        inside.append(((later >= low) & (later <= high)).double().mean())
    assert 0.75 < torch.stack(inside).mean() < 0.9


def test_levels_beyond_what_was_held_out_are_named():
    assert beyond_errors([0.1, 0.5, 0.9], 3) is None and beyond_errors([0.025, 0.975], 10) is None
    said = beyond_errors([0.005, 0.5, 0.995, 0.9995], 150)
    assert "150 held-out errors" in said and "up to 98.6 %" in said and "; 99 %, 99.9 % rests" in said
    assert beyond_errors([0.005, 0.995], 199) is None and beyond_errors([0.005, 0.995], 198) is not None


def test_a_level_moved_far_out_does_not_run_into_the_assumed_tails():
    """After some misses of few errors the level read moves; the heavy tails there are the prior's, not the data's."""
    shares = prior(0.1, 0.9).double()[None]
    known, wanted = torch.tensor([4.0]), torch.tensor([[0.1, 0.9, 0.975, 0.995]])
    usual = State(shares, known, torch.tensor([NORMAL])).quantile(wanted)
    moved = State(shares, known, 3 * torch.tensor([NORMAL])).quantile(wanted)
    assert (moved.abs() >= usual.abs()).all() and (moved.abs() < 15 * usual.abs()).all()
