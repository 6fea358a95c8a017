"""Predictions about sequences or their symbols, on top of a sequence model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from xlstm_apps.biosequence.config import HeadConfig, LinearConfig, SequenceConfig
from xlstm_apps.biosequence.linear import LinearMember
from xlstm_apps.biosequence.model import SequenceModel, pool_strand
from xlstm_apps.biosequence.packing import Rows
from xlstm_apps.biosequence.places import Places
from xlstm_apps.biosequence.scoring import evaluating
from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.core.pretrained import PretrainedMixin

MISSING = -1
"""Class of a target that is not known; a number or a label that is not known is NaN."""


class SequencePredictor(nn.Module, PretrainedMixin):
    """Classes, labels or numbers of whole sequences, or of each of their symbols.

    Where the model reads both strands, the head reads each and its outputs are averaged: what is said of a sequence is
    then exactly what is said of its reverse complement, and what is said of a symbol what is said of its partner. With
    pooling `places` it reads both beside each other.

    Args:
        head: What is predicted.
        sequence: As in `SequenceModel`.
        backbone: As in `SequenceModel`.
        linear: The linear member that answers along with the network; None: there is none. See `joined`.
    """

    target_mean: Tensor
    target_std: Tensor

    def __init__(
        self,
        head: HeadConfig,
        sequence: SequenceConfig,
        backbone: xLSTMConfig,
        linear: LinearConfig | None = None,
    ) -> None:
        super().__init__()
        head = head.decided()
        assert head.num_outputs is not None
        self.head_config = head
        self.model = self.build_model(sequence, backbone)
        self.dropout = nn.Dropout(head.dropout)
        features, self.places = backbone.embedding_dim, None
        if head.pooling == "places":
            if head.length is None:
                raise ValueError("pooling='places' needs the length that all sequences have")
            if sequence.symmetry in ("augment", "posthoc"):
                raise ValueError(
                    f"pooling='places' reads sequences as they stand, and symmetry={sequence.symmetry!r} turns them "
                    "over; take symmetry 'none' or 'shared'"
                )
            self.places = Places(features * (2 if sequence.symmetry == "shared" else 1), head.length)
            features = self.places.features
        self.head = nn.Linear(features, head.num_outputs)
        #: Mean and spread [O] of the numbers in training: the head gives them scaled, `predict` in their own units.
        self.register_buffer("target_mean", torch.zeros(head.num_outputs))
        self.register_buffer("target_std", torch.ones(head.num_outputs))
        if linear is not None and head.per_symbol:
            raise ValueError("a linear member is for whole sequences")
        self.linear = None if linear is None else LinearMember(linear, self.model.alphabet, head.num_outputs)

    def build_model(self, sequence: SequenceConfig, backbone: Any) -> SequenceModel:
        """The model under the head: a place for networks that stand beside the xLSTM."""
        return SequenceModel(sequence, backbone)

    @classmethod
    def from_model(cls, model: SequenceModel, head: HeadConfig) -> Self:
        """A new head on a copy of a trained model."""
        predictor = cls(head, model.sequence, model.config)
        predictor.model.load_state_dict(model.state_dict())
        return predictor.to(model.embedding.weight.device, model.embedding.weight.dtype)

    def joined(self, linear: LinearConfig) -> Self:
        """A copy of this network with a linear member beside it, whose weights are nought yet."""
        made = type(self)(self.head_config, self.model.sequence, self.model.config, linear)
        made.load_state_dict(self.state_dict(), strict=False)
        return made.to(self.head.weight.device, self.head.weight.dtype).train(self.training)

    def forward(
        self,
        ids: Tensor,
        *,
        lengths: Sequence[int] | Tensor | None = None,
        cu_seqlens: Tensor | None = None,
    ) -> Tensor:
        """Outputs before softmax or sigmoid, numbers scaled: token ids [B, T] -> [B, O], or [B, T, O] per symbol.

        Args:
            ids: [B, T].
            lengths: Lengths of padded rows; padding is neither read nor pooled, and outputs there are 0.
            cu_seqlens: Borders of N documents packed into one row: -> [N, O], or [1, T, O] per symbol.
        """
        rows = None
        if lengths is not None:
            if cu_seqlens is not None:
                raise ValueError("lengths and cu_seqlens exclude each other")
            rows = Rows(lengths, ids.shape[1], ids.device)
            ids, cu_seqlens = rows.pack(ids), rows.cu_seqlens
        strands = self.model.encode(ids, cu_seqlens=cu_seqlens)
        if self.places is not None:
            strands = (self.places(torch.cat(strands, -1), cu_seqlens),)
        elif not self.head_config.per_symbol:
            how = self.head_config.pooling
            strands = tuple(pool_strand(x, how, cu_seqlens, other=n > 0) for n, x in enumerate(strands))
        outputs = torch.stack([self.head(self.dropout(x)) for x in strands]).mean(0)
        if self.linear is not None:
            outputs = self.linear(outputs, ids, cu_seqlens)
        return rows.unpack(outputs) if rows is not None and self.head_config.per_symbol else outputs

    def predict(self, ids: Tensor, *, lengths: Sequence[int] | Tensor | None = None) -> Tensor:
        """Probabilities of classes or labels, or numbers in the units of the targets: [B, O], or [B, T, O] per symbol.

        Args:
            ids: [B, T].
            lengths: Lengths of padded rows.
        """
        with evaluating(self), torch.inference_mode():
            return self.finished(self(ids, lengths=lengths))

    def finished(self, outputs: Tensor) -> Tensor:
        """Outputs [..., O] as probabilities, or as numbers in the units of the targets."""
        outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        if self.head_config.task == "regression":
            return outputs * self.target_std.to(outputs) + self.target_mean.to(outputs)
        return outputs.softmax(-1) if self.head_config.task == "classification" else outputs.sigmoid()

    def loss_sums(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Weighted sum of the losses and sum of the weights; targets that are missing count in neither.

        Args:
            outputs: [..., O].
            targets: Classes [...], -1 = missing; labels (0 or 1) or numbers [..., O], NaN = missing.
            weights: [...]; None = 1.
        """
        outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        if self.head_config.task == "classification":
            known = targets != MISSING
            losses = cross_entropy(outputs.flatten(0, -2), targets.clamp(min=0).long().flatten(), reduction="none")
            losses = losses.view(targets.shape)
        else:
            known = ~targets.isnan()
            truth = torch.where(known, targets, 0).to(outputs.dtype)
            multilabel = self.head_config.task == "multilabel"
            if not multilabel:
                truth = (truth - self.target_mean.to(truth)) / self.target_std.to(truth)
            losses = (
                binary_cross_entropy_with_logits(outputs, truth, reduction="none")
                if multilabel
                else (outputs - truth).square()
            )
            weights = None if weights is None else weights.unsqueeze(-1)
        counts = known.to(losses.dtype) if weights is None else known * weights
        return torch.where(counts > 0, losses * counts, 0.0).sum(), counts.sum()


def language_part(model: SequenceModel | SequencePredictor) -> SequenceModel:
    """The model under the head, or the model itself where there is none."""
    return model.model if isinstance(model, SequencePredictor) else model
