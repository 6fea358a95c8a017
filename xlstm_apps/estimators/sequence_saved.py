"""A saved sequence model, wherever it lies: the run folder of a training, a model folder, a published checkpoint."""

import json
import pickle
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from xlstm_apps.biosequence.config import SequenceConfig
from xlstm_apps.biosequence.heads import SequencePredictor
from xlstm_apps.biosequence.model import SequenceModel
from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.core.pretrained import CONFIG, stored_config
from xlstm_apps.estimators.saved import model_folder, model_source, resolve_device

PUBLISHED = "model_config.json"
"""What published DNA-xLSTM folders call their configuration; those of Prot-xLSTM call it `config.json`, as we do."""
MOLECULES = "init_arguments.json"
"""What published Chem-xLSTM folders call it."""
_CHECKPOINTS = ("*.safetensors", "*.ckpt", "*.pt", "*.bin", "checkpoints/**/*.ckpt")
Config = TypeVar("Config", SequenceConfig, xLSTMConfig)
VERBS = {"sequence": "sequence train", "sequence-finetune": "sequence finetune"}


def load_sequence_model(path: str | Path, device: str | torch.device = "auto") -> SequenceModel | SequencePredictor:
    """A saved model in evaluation mode; one that was fine-tuned comes with its head.

    Args:
        path: Run folder of `sequence train` or `finetune`, folder that `save_pretrained` wrote, folder of a published
            DNA-xLSTM checkpoint (`model_config.json` and the weights), Prot-xLSTM checkpoint (`config.json` and
            `pytorch_model.bin`) or Chem-xLSTM checkpoint (`init_arguments.json` and `model.pt`), or the name of a Hub
            repository.
        device: `auto`: CUDA where there is any.

    Raises:
        ValueError: None of those, a run that has no model yet, or a model of another task.
    """
    where = resolve_device(device)
    if Path(path).expanduser().is_file():
        raise ValueError(f"{path} is a file; give the folder it lies in")
    folder = model_folder(path, VERBS)
    if (folder / PUBLISHED).is_file():
        return _published(folder, PUBLISHED).to(where)
    if (folder / MOLECULES).is_file():
        return _published(folder, MOLECULES).to(where)
    source = model_source(path, folder)
    config = stored_config(source)
    if "position_embeddings" in config and folder.is_dir():
        return _published(folder, CONFIG).to(where)
    if "sequence" not in config:
        known = ", ".join(config) or "nothing"
        raise ValueError(f"{path}: no sequence model; its {CONFIG} holds {known}")
    kind = SequencePredictor if "head" in config else SequenceModel
    return kind.from_pretrained(source).to(where)


def language_model(path: str | Path, device: str | torch.device = "auto", *, verb: str) -> SequenceModel:
    """A saved language model, for what needs its predictions of symbols.

    Raises:
        ValueError: As `load_sequence_model`; or a model with a head, whose own predictions fine-tuning has undone.
    """
    model = load_sequence_model(path, device)
    if isinstance(model, SequencePredictor):
        raise ValueError(
            f"{path}: this model was fine-tuned to predict something else, so it cannot {verb}; give the model it "
            "began from, or use `sequence predict`"
        )
    return model


def settled(section: str, given: Config, default: Config, own: Config, source: str, free: Sequence[str] = ()) -> Config:
    """The settings of a trained model, with those of the user that it leaves `free`.

    Args:
        section: Its name, for messages.
        given: What the user says.
        default: What nobody said: a field of `given` that differs from it was said by the user.
        own: The model's.
        source: What to call the model in messages.
        free: Fields that a model does not fix.

    Raises:
        ValueError: What the user says contradicts the model.
    """
    values = {field.name: getattr(given, field.name) for field in fields(given)}
    said = {name: value for name, value in values.items() if value != getattr(default, name)}
    for name, value in said.items():
        if name not in free and value != getattr(own, name):
            raise ValueError(
                f"{section}.{name} is {value!r}, and {source} has {getattr(own, name)!r}; leave the option out, or "
                "train a new model without from_model"
            )
    return replace(own, **{name: value for name, value in said.items() if name in free})


def _published(folder: Path, name: str) -> SequenceModel:
    config = json.loads((folder / name).read_text(encoding="utf-8"))
    if name == MOLECULES and not isinstance(config.get("token2label"), dict):
        raise ValueError(f"{folder / name}: no token2label, which says what the ids of the model mean")
    found = sorted({file for pattern in _CHECKPOINTS for file in folder.glob(pattern)})
    if len(found) != 1:
        seen = f"{len(found)} ({', '.join(str(f.relative_to(folder)) for f in found[:5])})" if found else "none"
        raise ValueError(f"{folder}: expected one file of weights (.safetensors, .ckpt, .pt or .bin), found {seen}")
    return SequenceModel.from_published(config, _tensors(found[0]))


def _tensors(file: Path) -> dict[str, Any]:
    """Weights of a file; of a pickle nothing but tensors and plain values is taken."""
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{file}: not a file of plain weights ({reason})") from error
