import pytest

from xlstm_apps.forecasting import ForecastConfig


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prediction_length": 0}, "prediction_length must be at least 1"),
        ({"context_length": 0}, "context_length must be at least 1"),
        ({"quantiles": []}, "between 0 and 1"),
        ({"quantiles": [0.1, 1.0]}, "between 0 and 1"),
        ({"quantiles": [0.1, 0.1]}, "repeats"),
        ({"model": "xlstm"}, "head.model is one of xlstm-ens, .*, itransformer, not 'xlstm'"),
        ({"members": []}, "members"),
        ({"members": ["patch", "patch"]}, "members"),
        ({"members": ["patch", "linear"]}, "head.members are among naive, .*, itransformer, not 'linear'"),
        ({"members": ["naive"], "quantiles": [0.5]}, "nothing to learn"),
        ({"members": ["ridge", "naive"], "quantiles": [0.5]}, "ridge and naive: nothing to learn"),
        ({"ridge_channels": 0}, "head.ridge_channels must be at least 1"),
        ({"mixer_tokens": -1}, "mixer_tokens"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_wrong_settings_name_themselves(options, message):
    with pytest.raises(ValueError, match=message) as error:
        ForecastConfig(**options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("season", "context", "patch"),
    [
        (24, 336, 48),  # hourly: two days of two weeks
        (24, 720, 96),
        (168, 720, 168),
        (7, 28, 7),
        (12, 36, 4),  # too few seasons to make whole ones of
        (1, 18, 2),
        (1, 1, 1),
        (96, 288, 36),
    ],
)
def test_patches_follow_from_context_and_season(season, context, patch):
    head = ForecastConfig().resolve(context_length=context, season=season)
    assert (head.context_length, head.season) == (context, season)
    assert (head.patch_length, head.patch_stride) == (patch, patch)


def test_own_choices_stay():
    head = ForecastConfig(patch_length=10, patch_stride=5).resolve(context_length=50, season=24)
    assert (head.context_length, head.patch_length, head.patch_stride) == (50, 10, 5)
    with pytest.raises(ValueError, match="patch_length 60 is longer than the context of 50"):
        ForecastConfig(patch_length=60).resolve(context_length=50, season=1)


def test_levels_hold_the_median():
    assert ForecastConfig(quantiles=[0.9, 0.2]).levels == [0.2, 0.5, 0.9]
    assert ForecastConfig(quantiles=[0.5]).levels == [0.5]
