"""Prot-xLSTM (Schmidinger et al. 2024, "Bio-xLSTM"): the language model of the package `xlstm`, mLSTM blocks only,
whose queries and keys are turned by rotary positions that the data says: they begin again with every homolog.

Published as `config.json` and `pytorch_model.bin`, names behind `backbone.`. Read here at any length: the limit of
2,048 positions was one of its data, not of the model; and any prompt is continued right, of one token too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from xlstm_apps.core.language_model import xLSTMLanguageModel
from xlstm_apps.core.state import xLSTMState
from xlstm_apps.interop.weights import Weights
from xlstm_apps.interop.xlstm import language_model

SOURCE = "prot-xlstm"
ROTARY_BASE = 10_000  # of the original's constructor; the published models state theirs
STRAY = ("slstm_block", "slstm_at")  # of the common config; the original drops them too


class ProteinLanguageModel(xLSTMLanguageModel):
    """`xLSTMLanguageModel` whose positions are named as in the original. Without them they are counted."""

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, ids: Tensor, state: xLSTMState | None = None, *, position_ids: Tensor | None = None, **options: Any
    ) -> Tensor | tuple[Tensor, xLSTMState]:
        """Token ids [B, T] and their positions [B, T] -> logits [B, T, V]; the rest as in `xLSTMLanguageModel`."""
        return super().forward(ids, state, **_positions(position_ids, options))

    def step(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, ids: Tensor, state: xLSTMState | None = None, *, position_ids: Tensor | None = None, **options: Any
    ) -> tuple[Tensor, xLSTMState]:
        """One token per row, ids and positions [B] -> logits [B, V] and the next state."""
        return super().step(ids, state, **_positions(position_ids, options))

    def generate(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        ids: Tensor | Sequence[Tensor],
        max_new_tokens: int,
        *,
        position_ids: Tensor | Sequence[Tensor] | None = None,
        **options: Any,
    ) -> Tensor | list[Tensor]:
        """Continue prompts, positions counting on from theirs; `eos_id=0` ends at the begin of the next sequence."""
        return super().generate(ids, max_new_tokens, **_positions(position_ids, options))


def load_protein(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> nn.Module:
    """Prot-xLSTM: token ids [B, T] to logits [B, T, V]."""
    if isinstance(config.get("config"), Mapping):  # beside a description of the source
        config = config["config"]
    kind = config.get("position_embeddings") or "none"
    if kind not in ("none", "rot_1d"):
        raise ValueError(f"{SOURCE}: position_embeddings={kind!r} is not supported, only 'rot_1d' and 'none'")
    base = config.get("rope_base_frequency")
    base = None if kind == "none" else float(ROTARY_BASE if base is None else base)
    config = {name: value for name, value in config.items() if name not in STRAY}
    weights = Weights(tensors, "token_embedding.weight", SOURCE)
    return language_model(config, weights, ProteinLanguageModel, rotary_base=base)


def _positions(position_ids: Any, options: dict[str, Any]) -> dict[str, Any]:
    return options if position_ids is None else {"positions": position_ids, **options}
