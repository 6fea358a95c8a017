"""Changes under a masked model, by hiding what changes, and under a predictor, by its answers to both alleles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from xlstm_apps.biosequence.effects import Change, Strand, Sums, batches, effect_names
from xlstm_apps.biosequence.heads import SequencePredictor
from xlstm_apps.biosequence.model import SequenceModel
from xlstm_apps.biosequence.pace import Advance


def masked_sums(
    model: SequenceModel,
    strand: Strand,
    changes: Sequence[Change],
    context_length: int | None,
    downstream: int,
    tokens: int,
    advance: Advance,
) -> Sums:
    """Log p of both alleles; arguments as in `change_effects`.

    Symbols replaced by as many others: those that differ are hidden, all at once, and both alleles read off the same
    answer (masked marginals, Meier et al. 2021). Else the alleles have no places in common: each symbol of either, and
    of `downstream` symbols on each side, is hidden by itself (pseudo-log-likelihood, Salazar et al. 2020).
    """
    probes = _Probes(model, len(changes), tokens)
    definite = np.zeros(256, bool)
    definite[list(model.alphabet.definite)] = True
    for number, change in enumerate(changes):
        left, right = _flanks(strand, change, context_length)
        ref, alt = (np.frombuffer(allele, np.uint8) for allele in (change.ref, change.alt))
        if len(ref) == len(alt):
            places = np.flatnonzero(ref != alt)
            hidden = ref.copy()
            hidden[places] = model.alphabet.mask
            wants = [(number, 0, len(left) + p, int(ref[p])) for p in places.tolist()]
            wants += [(number, 1, len(left) + p, int(alt[p])) for p in places.tolist()]
            probes.add((change.record, change.start, hidden.tobytes()), np.concatenate([left, hidden, right]), wants)
        else:
            for side, allele in enumerate((ref, alt)):
                window = np.concatenate([left, allele, right])
                first, last = len(left) - downstream, len(left) + len(allele) + downstream
                for place in range(max(first, 0), min(last, len(window))):
                    if definite[window[place]]:
                        ids = window.copy()
                        ids[place] = model.alphabet.mask
                        key = (change.record, change.start, change.stop, allele.tobytes(), place)
                        probes.add(key, ids, [(number, side, place, int(window[place]))])
        if probes.symbols >= tokens:
            probes.flush()
        advance(1)
    probes.flush()
    return probes.sums


class _Probes:
    """Windows with hidden symbols that wait to be read in one batch, and what is to be looked up in the answers."""

    def __init__(self, model: SequenceModel, size: int, tokens: int) -> None:
        self.model, self.tokens, self.sums = model, tokens, Sums(size)
        self._clear()

    def _clear(self) -> None:
        self.rows: dict[tuple, tuple[np.ndarray, list[tuple[int, int, int, int]]]] = {}
        self.symbols = 0

    def add(self, key: tuple, ids: np.ndarray, wants: list[tuple[int, int, int, int]]) -> None:
        """Queue a window; `wants` are (change, allele, place, symbol). Windows of one key are the same."""
        if key not in self.rows:
            self.rows[key] = (ids, [])
            self.symbols += len(ids)
        self.rows[key][1].extend(wants)

    def flush(self) -> None:
        """Read what waits."""
        windows = list(self.rows.values())
        for batch in batches([len(ids) for ids, _ in windows], self.tokens):
            ids, lengths = _padded([windows[n][0] for n in batch], self.model)
            where = np.array(
                [(row, *want) for row, n in enumerate(batch) for want in windows[n][1]], np.int64
            ).reshape(-1, 5)  # fmt: skip
            logits = self.model(ids, lengths=lengths)
            at = torch.from_numpy(where[:, [0, 3, 4]]).to(logits.device).T
            chosen = logits[at[0], at[1]].double().log_softmax(-1)
            found = chosen.gather(1, at[2][:, None])[:, 0].cpu().numpy()
            np.add.at(self.sums.total, (where[:, 1], where[:, 2]), found)
            np.add.at(self.sums.count, (where[:, 1], where[:, 2]), 1)
        self._clear()


def predictor_changes(
    predictor: SequencePredictor,
    strand: Strand,
    changes: Sequence[Change],
    context_length: int | None,
    tokens: int,
    advance: Advance,
) -> np.ndarray:
    """Change of the answer from REF to ALT in windows around the change: float64 [N, outputs].

    Two classes: of the log odds of the second; several: of the log probability of each; labels: of the log odds of
    each; numbers: of each, in the units of the training's targets.

    Raises:
        ValueError: A predictor of symbols.
    """
    if predictor.head_config.per_symbol:
        raise ValueError(
            "this model predicts something of every symbol; to compare alleles give one that predicts something of "
            "whole sequences, or a language model"
        )
    out = np.zeros((len(changes), len(effect_names(predictor))))
    at = 0
    while at < len(changes):
        windows: dict[tuple, np.ndarray] = {}
        owners, symbols, first = [], 0, at
        while at < len(changes) and (symbols < 8 * tokens or at == first):
            change = changes[at]
            left, right = _flanks(strand, change, context_length)
            keys = []
            for allele in (change.ref, change.alt):
                key = (change.record, change.start, change.stop, allele)
                ids = np.concatenate([left, np.frombuffer(allele, np.uint8), right])
                if key not in windows:
                    windows[key] = ids
                    symbols += len(ids)
                keys.append(key)
            owners.append(keys)
            at += 1
        answers = dict(zip(windows, _answers(predictor, list(windows.values()), tokens), strict=True))
        for number, (ref, alt) in enumerate(owners, first):
            out[number] = answers[alt] - answers[ref]
        advance(at - first)
    return out


def _answers(predictor: SequencePredictor, windows: list[np.ndarray], tokens: int) -> np.ndarray:
    """What a predictor says of windows, on a scale on which differences mean something: float64 [N, outputs]."""
    out = np.full((len(windows), len(effect_names(predictor))), np.nan)  # stays NaN where nothing is left to read
    for batch in batches([len(ids) for ids in windows], tokens):
        ids, lengths = _padded([windows[n] for n in batch], predictor.model)
        values = predictor(ids, lengths=lengths).double()
        if predictor.head_config.task == "classification":
            values = values.log_softmax(-1)
            if values.shape[-1] == 2:
                values = values[:, 1:] - values[:, :1]
        elif predictor.head_config.task == "regression":
            values = predictor.finished(values)
        out[batch] = values.cpu().numpy()
    return out


def _flanks(strand: Strand, change: Change, context_length: int | None) -> tuple[np.ndarray, np.ndarray]:
    reach = strand.length(change.record) if context_length is None else context_length
    return (
        strand.fetch(change.record, change.start - reach, change.start),
        strand.fetch(change.record, change.stop, change.stop + reach),
    )


def _padded(windows: list[np.ndarray], model: SequenceModel) -> tuple[Tensor, Tensor | None]:
    """Rows [B, T] on the device of the model, and their lengths where they differ."""
    lengths = [len(ids) for ids in windows]
    ids = np.full((len(windows), max(lengths)), model.alphabet.pad, np.int64)
    for row, window in enumerate(windows):
        ids[row, : len(window)] = window
    device = model.embedding.weight.device
    same = min(lengths) == max(lengths)
    return torch.from_numpy(ids).to(device), None if same else torch.tensor(lengths, device=device)
