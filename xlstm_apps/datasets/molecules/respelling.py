"""The same molecule in another spelling: SMILES written from a random order of the atoms, drawn anew at every visit.

Bjerrum 2017, "SMILES enumeration as data augmentation"; Arus-Pous et al. 2019 for language models.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from .chemistry import chemistry, quiet

Batch = dict[str, Tensor]
Encode = Callable[[np.ndarray], np.ndarray]


def random_smiles(smiles: str, rng: np.random.Generator) -> str:
    """The molecule written from a random order of its atoms; the string itself where RDKit reads no molecule in it.

    Args:
        smiles: Any spelling.
        rng: The only source of randomness.
    """
    Chem = chemistry()  # noqa: N806
    params = Chem.SmilesParserParams()
    params.parseName = params.allowCXSMILES = False
    mol = Chem.MolFromSmiles(smiles, params)
    if mol is None:
        return smiles
    order = rng.permutation(mol.GetNumAtoms()).tolist()
    return Chem.MolToSmiles(Chem.RenumberAtoms(mol, order), canonical=False) if order else smiles


class Respelling:
    """Ids of molecules in another spelling.

    Args:
        tokens: What each id is written as.
        encode: Bytes to ids.
        share: Of the molecules, how many are spelled anew.

    Raises:
        ValueError: RDKit is not installed, or no share.
    """

    def __init__(self, tokens: Sequence[str], encode: Encode, share: float) -> None:
        chemistry()
        if not 0 <= share <= 1:
            raise ValueError(f"data.randomise is a share of the molecules, from 0 to 1, not {share}")
        self.tokens, self.encode, self.share = tokens, encode, share

    @property
    def note(self) -> str:
        """What a reader of the results should know of it."""
        return f"{self.share:.0%} of the training molecules are spelled anew each time; others are as written"

    def __call__(self, ids: np.ndarray, rng: np.random.Generator, most: int) -> np.ndarray:
        """Another spelling of ids [T], of at most so many; the same ids where there is none, or none that fits."""
        if rng.random() >= self.share:
            return ids
        with quiet():
            text = random_smiles("".join(self.tokens[i] for i in ids.tolist()), rng)
        try:
            found = self.encode(np.frombuffer(text.encode(), np.uint8))
        except ValueError:  # a dialect of RDKit's that is no SMILES of ours
            return ids
        return found if len(found) <= most else ids


class Respelled(Dataset[Batch]):
    """Batches of a data set with its molecules in other spellings, drawn from (seed, batch number) as training does.

    Args:
        base: Gives batches `ids`, `weights`, `lengths` and `record` by `__getitems__`; rows that hold a whole record,
            with or without an end, are spelled anew, as long as no more than `most` ids.
        corpus: What the records are of.
        respelling: How they are spelled.
        most: Places of a row.
    """

    def __init__(self, base: Any, corpus: Any, respelling: Respelling, most: int) -> None:
        self.base, self.corpus, self.respelling, self.most = base, corpus, respelling, most

    def __len__(self) -> int:
        return len(self.base)

    def draw(self, indices: Sequence[int], generator: np.random.Generator) -> Batch:
        """The batch of these numbers, in spellings drawn from the generator."""
        batch = self.base.__getitems__(indices)
        rows, weights = [], []
        for ids, counts, length, record in zip(
            batch["ids"].numpy(), batch["weights"].numpy(), batch["lengths"].tolist(), batch["record"].tolist(),
            strict=True,
        ):  # fmt: skip
            whole = int(self.corpus.lengths[record])
            ids, counts = ids[:length], counts[:length]
            if length >= whole:
                found = self.respelling(ids[:whole], generator, max(self.most, whole))
                ids = np.concatenate([found, ids[whole:]])
                counts = np.concatenate([np.full(len(found), counts[0], counts.dtype), counts[whole:]])
            rows.append(torch.from_numpy(ids.astype(np.int64)))
            weights.append(torch.from_numpy(counts))
        pad = self.corpus.alphabet["pad"]
        return batch | {
            "ids": torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad),
            "weights": torch.nn.utils.rnn.pad_sequence(weights, batch_first=True),
            "lengths": torch.tensor([len(row) for row in rows]),
        }
