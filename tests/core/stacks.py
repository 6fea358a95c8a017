"""Small backbones of every kind, in double precision and with no parameter at a special value."""

import torch

from xlstm_apps.core import xLSTMBackbone, xLSTMConfig

STACKS = {
    "mlstm": {},
    "slstm": {"slstm_at": "all"},
    "mixed": {"slstm_at": (1,), "bias": True, "ffn_bias": False, "qkv_bias": False},
    "no-conv": {"slstm_at": (0,), "conv1d_kernel_size": 0, "norm_bias": True, "final_norm": False},
    "uneven": {"slstm_at": (0,), "slstm_num_heads": 3, "slstm_conv1d_kernel_size": 1, "conv1d_kernel_size": 6,
               "qkv_block_size": 3, "mlstm_proj_factor": 1.5, "ffn_proj_factor": 0},
    "rotary": {"slstm_at": (1,), "num_blocks": 3, "rotary_base": 100.0},
    "large": {"family": "xlstm-large"},
    "large-mixed": {"family": "xlstm-large", "slstm_at": (1,), "bias": True, "norm_bias": True, "v_dim_factor": 1.5},
}  # fmt: skip


def make(name: str, **options) -> xLSTMBackbone:
    config = xLSTMConfig(
        **{"embedding_dim": 24, "num_blocks": 2, "num_heads": 2, "proj_round_to": 6, **STACKS[name], **options}
    )
    backbone = xLSTMBackbone(config).double()
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return backbone
