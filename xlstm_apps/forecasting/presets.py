"""The named models: which members they have, and what they take where the user leaves a choice open."""

from collections.abc import Collection
from dataclasses import dataclass, fields, replace

from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.forecasting.config import ForecastConfig, Member, Model


@dataclass(frozen=True, kw_only=True)
class Preset:
    """One named model."""

    members: tuple[Member, ...]
    backbone: xLSTMConfig
    dropout: float
    learning_rate: float


def _slstm(embedding_dim: int, **options) -> xLSTMConfig:
    return xLSTMConfig(
        **{"embedding_dim": embedding_dim, "num_blocks": 1, "num_heads": 4, "slstm_at": "all", "conv1d_kernel_size": 0}
        | options
    )


def _transformer(embedding_dim: int, num_blocks: int, num_heads: int) -> xLSTMConfig:
    return xLSTMConfig(embedding_dim=embedding_dim, num_blocks=num_blocks, num_heads=num_heads)


PRESETS: dict[Model, Preset] = {
    "xlstm-ens": Preset(
        members=("naive", "seasonal", "ridge", "nlinear", "mixer", "patch"),
        backbone=_slstm(64),
        dropout=0.2,
        learning_rate=3e-3,
    ),
    # As coded: three sLSTM blocks with convolution (Alharthi & Mahmood 2024; their paper also names the mLSTM).
    "xlstm-time": Preset(
        members=("variate",),
        backbone=_slstm(256, num_blocks=3, conv1d_kernel_size=4),
        dropout=0.0,
        learning_rate=1e-3,
    ),
    "p-slstm": Preset(members=("patch",), backbone=_slstm(100, num_heads=4), dropout=0.1, learning_rate=1e-3),
    "xlstm-mixer": Preset(members=("mixer",), backbone=_slstm(256, num_heads=8), dropout=0.1, learning_rate=1e-3),
    "nlinear": Preset(members=("nlinear",), backbone=_slstm(64), dropout=0.0, learning_rate=3e-3),
    "dlinear": Preset(members=("dlinear",), backbone=_slstm(64), dropout=0.0, learning_rate=3e-3),
    "patchtst": Preset(members=("patchtst",), backbone=_transformer(128, 3, 16), dropout=0.2, learning_rate=3e-4),
    "itransformer": Preset(
        members=("itransformer",), backbone=_transformer(256, 2, 8), dropout=0.1, learning_rate=3e-4
    ),
}

LINEAR = {"naive", "seasonal", "ridge", "nlinear", "dlinear"}
"""Members without a network."""

BACKBONE = PRESETS["xlstm-ens"].backbone
"""The backbone a forecaster has unless told otherwise: one sLSTM block, small enough for two CPU cores."""


def with_preset(
    head: ForecastConfig, backbone: xLSTMConfig, given: Collection[str] = ()
) -> tuple[ForecastConfig, xLSTMConfig, float]:
    """The head with members and dropout filled in, the backbone of the model, and its learning rate.

    What the user set wins: fields of `backbone` that differ from `BACKBONE` are kept, the others are the model's.

    Args:
        head: As the user set it.
        backbone: As the user set it.
        given: Fields of the backbone that are known to be set, and hence kept even where they equal `BACKBONE`.
    """
    preset = PRESETS[head.model]
    chosen = {
        f.name: getattr(backbone, f.name)
        for f in fields(backbone)
        if f.name in given or getattr(backbone, f.name) != getattr(BACKBONE, f.name)
    }
    if chosen.get("family") == "xlstm-large":  # which has no convolution, and the preset's would be refused
        chosen.setdefault("conv1d_kernel_size", 0)
    head = replace(
        head,
        members=list(preset.members) if head.members is None else head.members,
        dropout=preset.dropout if head.dropout is None else head.dropout,
    )
    return head, replace(preset.backbone, **chosen), preset.learning_rate


def described(head: ForecastConfig, backbone: xLSTMConfig) -> str:
    """Members and network of a resolved model in one line, so that nothing about them is left to be guessed."""
    assert head.members
    text = " + ".join(head.members)
    if {*head.members} <= LINEAR:
        return text
    plain = xLSTMConfig()
    always = ("embedding_dim", "num_blocks", "num_heads")
    if not {*head.members} <= LINEAR | {"patchtst", "itransformer"}:
        changed = [f.name for f in fields(backbone) if getattr(backbone, f.name) != getattr(plain, f.name)]
        always += tuple(name for name in changed if name not in always)
    return f"{text}; backbone: {', '.join(f'{name} {getattr(backbone, name)}' for name in always)}"
