"""DNA-xLSTM (Schmidinger et al. 2024, "Bio-xLSTM"), released as Lightning checkpoints: the block stack of the package
`xlstm` read in up to two directions and, with parameter sharing ("PS"), on both strands.

Published models with parameter sharing and several heads carry a defect: on the second strand the sLSTM layers hand
their heads over in reverse order, which breaks the symmetry the sharing is for. Their weights were trained with it, so
it is reproduced unless `legacy_head_flip=False` is among the config's keys.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.core.language_model import xLSTMLanguageModel
from xlstm_apps.core.layers import MultiHeadNorm
from xlstm_apps.core.slstm import sLSTMLayer
from xlstm_apps.core.strands import check_complement, mirror, reverse_complement
from xlstm_apps.interop.weights import Weights, prefixed
from xlstm_apps.interop.xlstm import backbone_config, backbone_tensors, check

SOURCE, STACK = "dna-xlstm", "xlstm_block_stack."
UNSUPPORTED = {
    "m_backend_bidirectional": "the mLSTM without a direction",
    "m_position_embeddings": "position embeddings",
    "s_position_embeddings": "position embeddings",
}


class SharedStrandsLanguageModel(xLSTMLanguageModel):
    """Logits of both strands, aligned and added: `f(x) = g(x) + RC g(RC x)` for any language model g.

    Args:
        backbone: As in `xLSTMLanguageModel`.
        vocab_size: As in `xLSTMLanguageModel`.
        complement: Id of the complement of every id.
        legacy_head_flip: Reverse the heads of the sLSTM layers on the second strand, as the published models do.
    """

    complement: Tensor

    def __init__(
        self, backbone: xLSTMConfig, vocab_size: int, complement: list[int], legacy_head_flip: bool = False
    ) -> None:
        super().__init__(backbone, vocab_size)
        check_complement(complement, vocab_size)
        self.register_buffer("complement", torch.tensor(complement), persistent=False)
        self.flips: list[HeadFlipNorm] = []
        for block in self.backbone.blocks if legacy_head_flip else ():
            if isinstance(block.mixer, sLSTMLayer):
                block.mixer.head_norm = HeadFlipNorm(backbone.embedding_dim, backbone.option("norm_eps"))
                self.flips.append(block.mixer.head_norm)

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, ids: Tensor, *, cu_seqlens: Tensor | None = None
    ) -> Tensor:
        """Token ids [B, T] -> logits [B, T, V]. There is no state: the other strand is read from its own end."""
        own = super().forward(ids, cu_seqlens=cu_seqlens)
        self._flip(True)
        try:
            other = super().forward(reverse_complement(ids, self.complement, cu_seqlens), cu_seqlens=cu_seqlens)
        finally:
            self._flip(False)
        return own + mirror(other, cu_seqlens)[..., self.complement]

    def step(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: the second strand begins at the end of the text."""
        raise ValueError("a model that shares parameters between the strands reads whole sequences, not step by step")

    def _flip(self, flipped: bool) -> None:
        for norm in self.flips:
            norm.flipped = flipped


class HeadFlipNorm(MultiHeadNorm):
    """Head-wise norm that takes the heads in reverse order while `flipped`."""

    flipped = False

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flip(-2) if self.flipped else x)


def load_dna(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> nn.Module:
    """DNA-xLSTM language model, causal or masked: token ids [B, T] to logits [B, T, V]."""
    if isinstance(config.get("config"), Mapping):  # beside a description of the source, or a whole hydra config
        config = {"legacy_head_flip": config.get("legacy_head_flip"), **config["config"]}
    for name, what in UNSUPPORTED.items():
        if config.get(name):
            raise ValueError(f"{SOURCE}: {name}=True is not supported ({what})")
    tensors, complements, shared = _plain_names(tensors)
    weights = Weights(tensors, "token_embedding.weight", SOURCE)
    if config.get("rcps") is not None:
        check({"rcps": bool(config["rcps"])}, "rcps", shared, weights)
    backbone = dataclasses.replace(backbone_config(config, weights, STACK), direction=_direction(config))
    embedding = weights.take("token_embedding.weight")
    check(config, "vocab_size", len(embedding), weights)
    if shared:
        complement = _complement(config, complements, len(embedding))
        flip = config.get("legacy_head_flip")
        module = SharedStrandsLanguageModel(backbone, len(embedding), complement, flip is None or bool(flip))
    elif config.get("legacy_head_flip"):
        raise ValueError(f"{SOURCE}: legacy_head_flip belongs to parameter sharing, which these weights do not have")
    else:
        module = xLSTMLanguageModel(backbone, len(embedding))
    head = weights.take_head("lm_head.weight", embedding, bool(config.get("tie_weights", False)))
    body = prefixed("backbone.", backbone_tensors(backbone, weights, STACK))
    weights.fill(module, {"embedding.weight": embedding, "head.weight": head, **body})
    return module


def _plain_names(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[Tensor], bool]:
    """Names as they are without sharing, the complements stored with it, and whether there was any.

    Lightning checkpoints also carry the counters of their metrics, which are no weights.
    """
    plain, complements = {}, []
    for key, tensor in tensors.items():
        if key.endswith(".complement_map"):
            complements.append(tensor)
        elif "_torchmetrics." not in key:
            for name in ("token_embedding.embedding.", "lm_head.lm_head."):
                key = key.replace(name, name.split(".")[0] + ".")
            plain[key.replace(".submodule.", ".")] = tensor
    return plain, complements, bool(complements)


def _complement(config: Mapping[str, Any], stored: list[Tensor], vocab_size: int) -> list[int]:
    stated = config.get("complement_map") or {}
    maps = [[int(i) for i in tensor.tolist()] for tensor in stored]
    if stated:
        maps.append([int(stated.get(str(i), stated.get(i, i))) for i in range(vocab_size)])
    if any(found != maps[0] for found in maps):
        raise ValueError(f"{SOURCE}: complement maps differ: {maps}")
    return maps[0]


def _direction(config: Mapping[str, Any]) -> str:
    if config.get("bidirectional_alternating"):
        return "alternating"
    return "bidirectional" if config.get("bidirectional") else "causal"
