import pytest

from xlstm_apps.forecasting import ForecastConfig


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prediction_length": 0}, "prediction_length must be at least 1"),
        ({"quantiles": []}, "between 0 and 1"),
        ({"quantiles": [0.1, 1.0]}, "between 0 and 1"),
        ({"quantiles": [0.1, 0.1]}, "repeats"),
        ({"members": []}, "members"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_wrong_settings_name_themselves(options, message):
    with pytest.raises(ValueError, match=message):
        ForecastConfig(**options)


@pytest.mark.parametrize(
    ("seasons", "season", "rows", "horizon", "context", "patch"),
    [
        ([24, 168], 24, 6000, 24, 336, 48),  # hourly: two weeks
        ([24, 168], 168, 6000, 720, 1008, 168),
        ([7], 7, 66, 14, 28, 7),  # few days: half of what there is
        ([12], 12, 100, 12, 36, 4),  # monthly: three years
        ([], 1, 40, 6, 18, 2),
        ([], 1, 3, 2, 1, 1),
        ([96, 672], 96, 50_000, 96, 288, 36),
    ],
)
def test_context_and_patch_follow_from_the_data(seasons, season, rows, horizon, context, patch):
    head = ForecastConfig(prediction_length=horizon).resolve(seasons=seasons, season=season, train_length=rows)
    assert (head.context_length, head.patch_length, head.patch_stride) == (context, patch, patch)


def test_own_choices_stay():
    head = ForecastConfig(context_length=50, patch_length=10, patch_stride=5)
    head = head.resolve(seasons=[24], season=24, train_length=1000)
    assert (head.context_length, head.patch_length, head.patch_stride) == (50, 10, 5)
    with pytest.raises(ValueError, match="patch_length 60 is longer than the context of 50"):
        ForecastConfig(context_length=50, patch_length=60).resolve(seasons=[], season=1, train_length=1000)
