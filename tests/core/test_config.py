"""xLSTMConfig: round trips, and errors a user can act on."""

import json
import subprocess
import sys

import pytest

from xlstm_apps.core.config import xLSTMConfig


@pytest.mark.parametrize(
    "config",
    [
        xLSTMConfig(),
        xLSTMConfig(slstm_at=(0, 3), dropout=0.1, norm_eps=1e-3),
        xLSTMConfig(slstm_at="all", num_heads=8, conv1d_kernel_size=0),
        xLSTMConfig(family="xlstm-large", qk_dim_factor=1.0, gate_soft_cap=5.0, slstm_at=(1,)),
    ],
)
def test_json_round_trip(config):
    assert xLSTMConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_a_list_from_yaml_becomes_a_tuple():
    config = xLSTMConfig(slstm_at=[1, 2])
    assert config.slstm_at == (1, 2)
    assert [config.is_slstm(index) for index in range(4)] == [False, True, True, False]


def test_options_left_out_take_the_value_of_the_family():
    assert xLSTMConfig().option("ffn_proj_factor") == 1.3
    large = xLSTMConfig(family="xlstm-large", embedding_dim=4096, num_heads=8)
    assert (large.option("norm_eps"), large.qk_dim, large.v_dim, large.ffn_dim) == (1e-6, 2048, 4096, 10944)


@pytest.mark.parametrize("width, factor", [(320, 1.1), (64, 352 / 64), (48, 1.7), (7, 3.0)])
def test_an_exact_factor_gives_the_exact_width(width, factor):
    config = xLSTMConfig(embedding_dim=width, num_heads=1, slstm_at="all", ffn_proj_factor=factor, proj_round_to=1)
    assert config.ffn_dim == -int(-(width * factor - 1e-4) // 1)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_blokcs": 3}, "unknown option 'num_blokcs'; did you mean 'num_blocks'"),
        ({"zzz": 3}, "the options are family, embedding_dim"),
        ({"family": "transformer"}, "family is one of xlstm, xlstm-large, not 'transformer'"),
        ({"direction": "both"}, "direction is one of causal, bidirectional, alternating, not 'both'"),
        ({"ffn_activation": "tanh"}, "ffn_activation is one of .*, not 'tanh'"),
        ({"backend": "cuda"}, "backend is one of auto, reference, torch, triton, not 'cuda'"),
        ({"num_heads": 0}, "num_heads=0 must be a whole number, at least 1"),
        ({"embedding_dim": 12.5}, "embedding_dim=12.5 must be a whole number"),
        ({"num_blocks": True}, "num_blocks=True must be a whole number"),
        ({"conv1d_kernel_size": -1}, "conv1d_kernel_size=-1 must be a whole number, at least 0"),
        ({"dropout": 1.0}, r"dropout=1.0 must lie in \[0, 1\)"),
        ({"mlstm_proj_factor": 0}, "mlstm_proj_factor=0 must be positive"),
        ({"ffn_proj_factor": -1}, "ffn_proj_factor=-1 must be positive, or 0"),
        ({"cell_eps": -1}, "cell_eps=-1 must not be negative"),
        ({"norm_eps": 0.0}, "norm_eps=0.0 must be positive"),
        ({"slstm_at": (4,)}, "slstm_at: 4 is no block index, blocks are numbered 0 to 3"),
        ({"slstm_at": "some"}, "slstm_at='some' must be a list of block indices or 'all'"),
        ({"num_heads": 3}, "embedding_dim x mlstm_proj_factor = 256 must be a multiple of num_heads = 3"),
        ({"qkv_block_size": 3}, "must be a multiple of qkv_block_size = 3"),
        (
            {"slstm_at": "all", "num_heads": 3},
            "embedding_dim = 128 must be a multiple of the number of sLSTM heads = 3",
        ),
        ({"slstm_at": "all", "slstm_num_heads": 5}, "the number of sLSTM heads = 5"),
        ({"family": "xlstm-large", "num_heads": 3}, "qk_dim_factor = 64 must be a multiple of num_heads = 3"),
        (
            {"family": "xlstm-large", "conv1d_kernel_size": 4},
            "conv1d_kernel_size=4 is no option of family 'xlstm-large'",
        ),
        ({"family": "xlstm-large", "qkv_bias": True}, "qkv_bias=True is no option of family 'xlstm-large'"),
        ({"gate_soft_cap": 15.0}, "gate_soft_cap=15.0 is no option of family 'xlstm'"),
    ],
)
def test_mistakes_are_named_in_one_line(options, message):
    with pytest.raises(ValueError, match=message) as error:
        xLSTMConfig.from_dict(options)
    assert "\n" not in str(error.value)


def test_slstm_only_stacks_ignore_the_mlstm_divisibility():
    xLSTMConfig(slstm_at="all", embedding_dim=9, num_heads=3)


def test_import_needs_no_torch():
    code = "import sys, xlstm_apps.core.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
