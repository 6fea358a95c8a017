"""The named models: complete, buildable, and never stronger than what the user set."""

from dataclasses import replace
from typing import get_args

import pytest

from xlstm_apps.forecasting import BACKBONE, PRESETS, ForecastConfig, described, with_preset
from xlstm_apps.forecasting.config import Member, Model
from xlstm_apps.forecasting.members import MEMBERS


def test_every_name_has_a_preset_and_every_member_a_class():
    assert set(PRESETS) == set(get_args(Model)) and set(MEMBERS) == set(get_args(Member))
    assert PRESETS[ForecastConfig().model].backbone == BACKBONE


@pytest.mark.parametrize("name", PRESETS)
def test_what_is_left_open_is_the_models(name):
    head, backbone, rate = with_preset(ForecastConfig(model=name), BACKBONE)
    preset = PRESETS[name]
    assert (tuple(head.members), head.dropout, rate) == (preset.members, preset.dropout, preset.learning_rate)
    assert backbone == preset.backbone


@pytest.mark.parametrize("name", PRESETS)
def test_what_the_user_set_wins(name):
    own = ForecastConfig(model=name, members=["patch", "naive"], dropout=0.45)
    head, backbone, _ = with_preset(own, replace(BACKBONE, embedding_dim=48, num_blocks=7))
    assert head == own and (backbone.embedding_dim, backbone.num_blocks) == (48, 7)
    assert backbone.num_heads == PRESETS[name].backbone.num_heads


def test_a_value_known_to_be_set_wins_even_where_it_is_the_default():
    head = ForecastConfig(model="xlstm-time")
    assert with_preset(head, BACKBONE)[1].embedding_dim == 256
    assert with_preset(head, BACKBONE, ["embedding_dim"])[1].embedding_dim == 64


@pytest.mark.parametrize("name", PRESETS)
def test_the_large_family_can_be_asked_for(name):
    _, backbone, _ = with_preset(ForecastConfig(model=name), replace(BACKBONE, family="xlstm-large"))
    assert backbone.family == "xlstm-large"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nlinear", "nlinear"),
        ("patchtst", "patchtst; backbone: embedding_dim 128, num_blocks 3, num_heads 16"),
        (
            "xlstm-ens",
            f"{' + '.join(PRESETS['xlstm-ens'].members)}; backbone: embedding_dim 64, num_blocks 1, num_heads 4, "
            "slstm_at all, conv1d_kernel_size 0",
        ),
    ],
)
def test_a_model_in_words(name, text):
    head, backbone, _ = with_preset(ForecastConfig(model=name), BACKBONE)
    assert described(head, backbone) == text
