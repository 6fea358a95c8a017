"""Training of sequence models and of predictors on them, in the form `training.fit` takes."""

from __future__ import annotations

import math

import lightning.pytorch as pl
import torch
from torch import Tensor

from xlstm_apps.biosequence.heads import MISSING, SequencePredictor
from xlstm_apps.biosequence.metrics import Confusion, Correlation
from xlstm_apps.biosequence.model import SequenceModel
from xlstm_apps.biosequence.objective import ask, ask_gaps, default_weights, loss_sums
from xlstm_apps.biosequence.packing import Rows
from xlstm_apps.core.strands import mirror, reverse_complement

Batch = dict[str, Tensor]


class SequenceModule(pl.LightningModule):
    """Loss of a `SequenceModel` on batches of sequences.

    With `sequence.infill_spans` training takes spans out of sequences and asks for them behind; validation reads them
    as they are, so that its numbers compare with those of models without gaps.

    A batch has `ids` [B, T], and optionally `weights` [B, T] (0 = not scored; without them every definite symbol
    counts), and `cu_seqlens` (packed, B = 1) or else `lengths` [B] (padded). Validation logs, as exact means over all
    targets of the part, `val_loss` (nats), `val_perplexity` and `val_bits` (bits per symbol); symbols of the masked
    objective are hidden alike in every epoch.

    Args:
        model: The model to train.
    """

    def __init__(self, model: SequenceModel) -> None:
        super().__init__()
        self.model = model
        self._total, self._count = 0.0, 0.0

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        total, count = self._sums(batch)
        return total / count.clamp(min=torch.finfo(count.dtype).tiny)

    def on_validation_epoch_start(self) -> None:
        self._total, self._count = 0.0, 0.0

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        total, count = self._sums(batch, torch.Generator().manual_seed(batch_idx))
        self._total += total.item()
        self._count += count.item()

    def on_validation_epoch_end(self) -> None:
        loss = self._total / self._count if self._count else math.nan
        self.log_dict({"val_loss": loss, "val_perplexity": _exp(loss), "val_bits": loss / math.log(2)})

    def _sums(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        ids, weights, cu_seqlens = unpadded(batch, self.model)
        if self.training and self.model.sequence.augments:
            ids, weights = other_strand_at_random(self.model, ids, weights, cu_seqlens)
        if self.training and self.model.sequence.infills:
            asked = ask_gaps(self.model.sequence, self.model.alphabet, ids, weights, cu_seqlens, generator)
            places = {} if getattr(self.model.config, "rotary_base", None) is None else {"positions": asked.positions}
            logits = self.model(asked.question.inputs, cu_seqlens=asked.cu_seqlens, **places)
            return loss_sums(logits, asked.question)
        question = ask(self.model.sequence, self.model.alphabet, ids, weights, cu_seqlens, generator)
        logits = self.model(question.inputs, cu_seqlens=cu_seqlens)
        return loss_sums(logits, question)


class PredictorModule(pl.LightningModule):
    """Loss of a `SequencePredictor`.

    A batch is as for `SequenceModule`, with `label`: classes [B] (-1 = missing), labels or numbers [B, O] (NaN =
    missing), with T after B per symbol; N documents for B where they are packed. `weights` [B, T] count per symbol
    only; `importance` [B] says how much a sequence counts in the losses.
    Validation logs `val_loss` and, over the whole part, `val_accuracy` and `val_mcc` of classes, `val_accuracy` of
    labels, or `val_pearson` of numbers (mean over the outputs).

    Args:
        predictor: The predictor to train.
        head_only: Leave the model as it is.
    """

    def __init__(self, predictor: SequencePredictor, head_only: bool = False) -> None:
        super().__init__()
        self.predictor, self.head_only = predictor, head_only
        predictor.model.requires_grad_(not head_only)
        if not predictor.model.sequence.tie_weights:
            predictor.model.head.requires_grad_(False)  # says what comes next, which is not asked here
        self._start()

    def on_train_epoch_start(self) -> None:
        if self.head_only:  # what is not trained is not disturbed by dropout either
            self.predictor.model.eval()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        _, (total, count) = self._outputs(batch)
        if "importance" in batch:
            # Divided by how many there are, not by how much they count: else a rare class would lose its weight where
            # it is alone in its batch, and the others would gain some wherever it is not.
            count = count / batch["importance"].mean().clamp(min=torch.finfo(count.dtype).tiny)
        return total / count.clamp(min=torch.finfo(count.dtype).tiny)

    def on_validation_epoch_start(self) -> None:
        self._start()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        outputs, (total, count) = self._outputs(batch)
        self._total += total.item()
        self._count += count.item()
        targets, config = batch["label"], self.predictor.head_config
        if config.task == "classification":
            known = targets != MISSING
            self._confusion.add(targets[known], outputs.argmax(-1)[known])
        elif config.task == "multilabel":
            known = ~targets.isnan()
            self._confusion.add(targets[known].long(), (outputs > 0)[known].long())
        else:
            for n, correlation in enumerate(self._correlations):
                known = ~targets[..., n].isnan()
                correlation.add(targets[..., n][known], outputs[..., n][known])

    def on_validation_epoch_end(self) -> None:
        metrics = {"val_loss": self._total / self._count if self._count else math.nan}
        if self.predictor.head_config.task == "regression":
            metrics["val_pearson"] = sum(c.pearson for c in self._correlations) / len(self._correlations)
        else:
            metrics["val_accuracy"] = self._confusion.accuracy
            if self.predictor.head_config.task == "classification":
                metrics["val_mcc"] = self._confusion.mcc
        self.log_dict(metrics)

    def _start(self) -> None:
        config = self.predictor.head_config
        self._total, self._count = 0.0, 0.0
        self._confusion = Confusion(config.num_outputs if config.task == "classification" else 2)
        self._correlations = [Correlation() for _ in range(config.num_outputs)]

    def _outputs(self, batch: Batch) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        model, per_symbol = self.predictor.model, self.predictor.head_config.per_symbol
        ids, weights, cu_seqlens = unpadded(batch, model)
        rows = _rows(batch)
        targets = batch["label"]
        if per_symbol and rows is not None:
            targets = rows.pack(targets)
        turned = None
        if self.training and model.sequence.augments:
            turned = draw_strands(ids, cu_seqlens)
            ids = turn(ids, turned, cu_seqlens, model.complement)
        outputs = self.predictor(ids, cu_seqlens=cu_seqlens)
        if turned is not None and per_symbol:
            outputs = turn(outputs, turned, cu_seqlens)
        counts = weights if per_symbol and "weights" in batch else None
        if "importance" in batch:
            importance = _of_symbols(batch, ids, cu_seqlens) if per_symbol else batch["importance"]
            counts = importance if counts is None else importance * counts
        sums = self.predictor.loss_sums(outputs, targets, counts)
        return rows.unpack(outputs) if per_symbol and rows is not None else outputs, sums


def unpadded(batch: Batch, model: SequenceModel) -> tuple[Tensor, Tensor, Tensor | None]:
    """Ids and weights [B, T], and borders where they are packed; padded rows come out packed."""
    ids, weights, cu_seqlens = batch["ids"], batch.get("weights"), batch.get("cu_seqlens")
    weights = default_weights(ids, model.alphabet) if weights is None else weights.float()
    rows = _rows(batch)
    if rows is None:
        return ids, weights, cu_seqlens
    return rows.pack(ids), rows.pack(weights), rows.cu_seqlens


def other_strand_at_random(
    model: SequenceModel, ids: Tensor, weights: Tensor, cu_seqlens: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Every row, or packed document, as its reverse complement with probability 1/2, weights along with it."""
    turned = draw_strands(ids, cu_seqlens)
    return turn(ids, turned, cu_seqlens, model.complement), turn(weights, turned, cu_seqlens)


def draw_strands(ids: Tensor, cu_seqlens: Tensor | None) -> Tensor:
    """Which symbols to read on the other strand, whole rows or documents at a time: [B, T] or [B, 1]."""
    if cu_seqlens is None:
        return torch.rand(len(ids), 1, device=ids.device) < 0.5
    drawn = torch.rand(len(cu_seqlens) - 1, device=ids.device) < 0.5
    return drawn.repeat_interleave(cu_seqlens.to(ids.device).diff(), output_size=ids.shape[1])[None]


def turn(x: Tensor, turned: Tensor, cu_seqlens: Tensor | None, complement: Tensor | None = None) -> Tensor:
    """Turn around what was drawn, [B, T, ...]; ids also change to their complements."""
    other = mirror(x, cu_seqlens) if complement is None else reverse_complement(x, complement, cu_seqlens)
    return torch.where(turned.view(*turned.shape, *(1,) * (x.dim() - 2)), other, x)


def _of_symbols(batch: Batch, ids: Tensor, cu_seqlens: Tensor | None) -> Tensor:
    """The importance of every symbol's sequence: [B, T], or [1, T] where they are packed."""
    importance = batch["importance"]
    if cu_seqlens is None:
        return importance[:, None].expand(ids.shape)
    return importance.repeat_interleave(cu_seqlens.to(ids.device).diff(), output_size=ids.shape[1])[None]


def _rows(batch: Batch) -> Rows | None:
    """The rows where they are padded: not packed, and not all of full length."""
    if "lengths" not in batch or "cu_seqlens" in batch or bool((batch["lengths"] == batch["ids"].shape[1]).all()):
        return None
    return Rows(batch["lengths"], batch["ids"].shape[1], batch["ids"].device)


def _exp(loss: float) -> float:
    return math.exp(loss) if loss < 700 else math.inf
