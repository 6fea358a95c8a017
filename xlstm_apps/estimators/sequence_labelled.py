"""Stretches of sequences with what is to be predicted of them, in batches."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from xlstm_apps.biosequence.heads import MISSING
from xlstm_apps.datasets.sequences import SequenceDataset, Spans
from xlstm_apps.estimators.sequence_targets import Targets


class LabelledSequences(Dataset[dict[str, Tensor]]):
    """Spans with what is to be predicted of them, in batches for `PredictorModule`.

    Args:
        corpus: A `Corpus` or `MemoryCorpus`.
        spans: Whole records, or for targets of symbols any stretches.
        targets: Of all records.
        class_weights: How much each class counts, [classes]; None: alike.
        unit: Importance of whole sequences is given in units of this: their mean in training.
    """

    def __init__(
        self, corpus: Any, spans: Spans, targets: Targets, class_weights: np.ndarray | None = None, unit: float = 1.0
    ) -> None:
        self.sequences, self.targets, self.class_weights = SequenceDataset(corpus, spans), targets, class_weights
        self.spans, self.unit = spans, unit

    def importance(self, records: np.ndarray) -> np.ndarray:
        """How much each of some records counts: float32 [N]."""
        found = self.sequences.corpus.weights[records].astype(np.float32)
        if self.class_weights is not None:
            found = found * self.class_weights[np.maximum(self.targets.values[records], 0)]
        return found / np.float32(self.unit)

    def __len__(self) -> int:
        return len(self.spans)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """As of `SequenceDataset`, with `label`, and `importance` of whole sequences."""
        batch = self.sequences.__getitems__(indices)
        records, values = batch["record"].numpy(), self.targets.values
        if self.targets.head.per_symbol:
            rows = [
                torch.from_numpy(np.ascontiguousarray(values[r][a : a + n]))
                for r, a, n in zip(records, batch["start"].tolist(), batch["lengths"].tolist(), strict=True)
            ]
            empty = MISSING if self.targets.head.task == "classification" else torch.nan
            batch["label"] = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=empty)
            if self.class_weights is not None:
                known = batch["label"].clamp(min=0)
                batch["weights"] = batch["weights"] * torch.from_numpy(self.class_weights)[known]
            return batch
        importance = torch.from_numpy(self.importance(records))
        return batch | {"label": torch.from_numpy(values[records]), "importance": importance}
