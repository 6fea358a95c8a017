"""The network as nnU-Net's plans ask for it, without a fork and without a trainer of its own.

In `nnUNetPlans.json`, replace the value of `network_class_name` of a configuration by

    "xlstm_apps.vision.unet_plans.xlstm_unet"

and, if wanted, add `where`, `scan`, `rounds` or `num_heads` to its `arch_kwargs`. All other entries stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from xlstm_apps.vision.config import Scan
from xlstm_apps.vision.unet import Sizes, XLSTMUNet
from xlstm_apps.vision.unet_config import UNetConfig, Where


def xlstm_unet(
    input_channels: int,
    num_classes: int,
    features_per_stage: Sequence[int],
    strides: Sizes,
    conv_op: type[nn.Module],
    kernel_sizes: Sizes,
    n_stages: int | None = None,
    n_conv_per_stage: int | Sequence[int] | None = None,
    n_blocks_per_stage: int | Sequence[int] | None = None,
    n_conv_per_stage_decoder: int | Sequence[int] | None = None,
    deep_supervision: bool = False,
    where: Where = UNetConfig.where,
    scan: Scan = UNetConfig.scan,
    rounds: int = 1,
    num_heads: int = 4,
    num_blocks: int = 1,
    dropout: float = 0.0,
    **details: Any,
) -> XLSTMUNet:
    """Build an `XLSTMUNet` from the architecture arguments of nnU-Net 2.

    It has residual blocks with instance norm and leaky ReLU, as nnU-Net's own; how many convolutions a stage has is
    said by `num_blocks`, not by `n_conv_per_stage` and its like, which are nnU-Net's own habit.

    Raises:
        ValueError: Another norm, activation or dropout than these, or something nobody has heard of.
    """
    dims = {nn.Conv2d: 2, nn.Conv3d: 3}.get(conv_op)
    if dims is None:
        raise ValueError(f"conv_op={conv_op!r}: plans of two or three dimensions are needed")
    if n_stages is not None and n_stages != len(features_per_stage):
        raise ValueError(f"n_stages={n_stages}, but features_per_stage has {len(features_per_stage)} entries")
    expected = {
        "norm_op": (None, nn.InstanceNorm2d, nn.InstanceNorm3d),
        "nonlin": (None, nn.LeakyReLU),
        "dropout_op": (None,),
    }
    settled = ("conv_bias", "norm_op_kwargs", "nonlin_kwargs", "dropout_op_kwargs", "nonlin_first", "block", "pool")
    for name, value in details.items():
        if name in expected:
            if value not in expected[name]:
                raise ValueError(f"{name}={value!r}: this network has instance norm, leaky ReLU and `dropout`")
        elif name not in settled:
            raise ValueError(f"unknown architecture argument {name!r} in the plans")
    network = XLSTMUNet(
        dims, input_channels, num_classes, features_per_stage, strides, where, scan, True,
        kernel_sizes=kernel_sizes, num_blocks=num_blocks, rounds=rounds, num_heads=num_heads, dropout=dropout,
    )  # fmt: skip
    network.decoder.deep_supervision = deep_supervision  # all heads are there: checkpoints are read with either value
    return network
