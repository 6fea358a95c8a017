"""What a protein model knows of a family after it has read homologs, as a small file that is used any often.

Homologs stand one after another, each behind its begin token, and positions begin again with every one. The state is
kept as it is before the next begin token, which ends the last homolog and begins whatever is asked about: a protein to
score, to change, or to make up. Several draws of homologs, for means over them, are rows of one state.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from xlstm_apps.biosequence.infilling import lay_out_family
from xlstm_apps.biosequence.model import SequenceModel
from xlstm_apps.biosequence.scoring import Context, evaluating
from xlstm_apps.core.state import xLSTMState
from xlstm_apps.core.whole_file import whole_file

SUFFIX = ".safetensors"
_FORMAT = "xlstm-apps family"
_CHUNK = 2**14


@dataclass(frozen=True)
class FamilyContext:
    """The state behind homologs, a row for each draw of them, and where it comes from."""

    state: xLSTMState
    """Before the begin token that ends the last homolog."""
    about: Mapping[str, Any]
    """JSON-able: `model_sha` as of `model_sha(model)`, and what the maker adds, such as the names of the homologs."""

    def __len__(self) -> int:
        return self.state.batch_size

    def begin(self, model: SequenceModel, draw: int | None = None) -> Context:
        """What the model expects at the begin of the next protein, for `score` and `read`: a row per draw, or that of
        one draw."""
        state = self.state if draw is None else self.state.select([draw])
        begins = torch.full((state.batch_size, 1), model.alphabet.bos, device=model.embedding.weight.device)
        with torch.no_grad(), evaluating(model):
            logits, state = model(begins, state, return_state=True)
        return Context(state, logits[:, -1].clone())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to a safetensors file, whole or not at all. Its size does not depend on how much was read."""
        tensors = {name: t.detach().contiguous().cpu() for name, t in self.state.named_tensors().items()}
        with whole_file(path) as aside:
            save_file(tensors, aside, metadata={"format": _FORMAT, "about": json.dumps(self.about)})

    @staticmethod
    def load(path: str | os.PathLike[str], model: SequenceModel) -> FamilyContext:
        """Read what `save` wrote, for the model that read the homologs.

        Raises:
            ValueError: The file is not there, is no such file, or was made with another model.
        """
        about = family_facts(path)
        if about.get("model_sha") != model_sha(model):
            made = f" ({about['model']})" if about.get("model") else ""
            raise ValueError(
                f"{os.fspath(path)}: made with another model{made}, and its state means nothing to this one; make it "
                "again with: xlstm-apps sequence context"
            )
        try:
            with safe_open(path, "pt", device=str(model.embedding.weight.device)) as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            return FamilyContext(xLSTMState.from_tensors(tensors), about)
        except (SafetensorError, KeyError, ValueError, TypeError) as error:
            raise ValueError(f"{os.fspath(path)}: {_UNREADABLE}") from error


_UNREADABLE = "no saved context of a family; make one with: xlstm-apps sequence context"


def family_facts(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Where the saved context of a family comes from, without its state.

    Raises:
        ValueError: The file is not there, or is no such file.
    """
    if not Path(path).is_file():
        raise ValueError(f"{os.fspath(path)}: no such file; make it with: xlstm-apps sequence context")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{os.fspath(path)}: {_UNREADABLE}") from error
    if metadata.get("format") != _FORMAT:
        raise ValueError(f"{os.fspath(path)}: {_UNREADABLE}")
    return json.loads(metadata["about"])


@torch.no_grad()
def read_homologs(
    model: SequenceModel,
    draws: Sequence[Sequence[np.ndarray]],
    about: Mapping[str, Any] | None = None,
    *,
    advance: Callable[[int], None] | None = None,
) -> FamilyContext:
    """Let a model read homologs.

    Args:
        model: A causal model of proteins.
        draws: For each draw the ids of its homologs, the most telling last; a draw may be empty.
        about: What to remember beside the state.
        advance: Called with a number of homologs that are read.

    Raises:
        ValueError: Another kind of model.
    """
    check_family_model(model)
    states = []
    with evaluating(model):
        for homologs in draws:
            state = model.initial_state(1)
            ids = lay_out_family([(ids, []) for ids in homologs], model.alphabet).ids if len(homologs) else []
            line = torch.tensor(np.asarray(ids, np.int64), device=model.embedding.weight.device)[None]
            for chunk in line.split(_CHUNK, 1) if len(ids) else ():
                _, state = model(chunk, state, return_state=True)
            states.append(state)
            if advance is not None:
                advance(len(homologs))
    return FamilyContext(xLSTMState.concat(states), {"model_sha": model_sha(model), **(about or {})})


def check_family_model(model: SequenceModel) -> None:
    """See that a model can read homologs, or molecules, one after another.

    Raises:
        ValueError: Not causal, of another alphabet, without begin token, or of single molecules.
    """
    if model.sequence.vocabulary is not None:
        raise ValueError(
            "in the published form of sets a dot parts the molecules, and no context is kept: `sequence generate` "
            "takes them as --prompt CCO.CCN. (the dot at the end begins the next)"
        )
    if model.alphabet.name == "smiles" and not model.sequence.sets:
        raise ValueError(
            "this model learned from single molecules, so others shown first mean nothing to it; train with "
            "data.families, on sets of molecules"
        )
    if model.alphabet.name not in ("protein", "smiles"):
        raise ValueError(f"homologs are for models of proteins, and this one reads {model.alphabet.name}")
    if not model.begins:
        raise ValueError(
            "a context of homologs needs a causal model with a begin token: train with sequence.objective causal"
        )


def model_sha(model: torch.nn.Module) -> str:
    """What tells models apart: SHA-256 of the names, types and values of all weights; hexadecimal, 64 digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {[*tensor.shape]}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
