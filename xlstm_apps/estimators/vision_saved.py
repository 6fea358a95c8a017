"""A saved vision model, wherever it lies: the run folder of a training, a model folder, a file of published weights."""

from __future__ import annotations

from pathlib import Path

from xlstm_apps.core.pretrained import CONFIG, stored_config
from xlstm_apps.estimators.saved import model_folder, model_source, resolve_device
from xlstm_apps.vision.classifier import ImageClassifier
from xlstm_apps.vision.model import VisionLSTM
from xlstm_apps.vision.weights import read_model

VERBS = {"vision": "vision train", "vision-finetune": "vision finetune"}


def load_vision_model(path: str | Path, device: str = "auto") -> ImageClassifier | VisionLSTM:
    """A saved model in evaluation mode.

    Args:
        path: Run folder of `vision train` or `finetune`, folder that `save_pretrained` wrote, or file of published
            Vision-LSTM weights.
        device: `auto`: CUDA where there is any.

    Raises:
        ValueError: None of those, or a run that has no model yet.
    """
    where = resolve_device(device)
    folder = model_folder(path, VERBS)
    if folder.is_file():
        return read_model(folder).to(where).eval()
    source = model_source(path, folder)
    config = stored_config(source)
    if "vision" not in config:
        raise ValueError(f"{path}: no vision model; its {CONFIG} holds {', '.join(config) or 'nothing'}")
    kind = ImageClassifier if "images" in config else VisionLSTM
    return kind.from_pretrained(source).to(where)


def load_classifier(path: str | Path, device: str = "auto") -> ImageClassifier:
    """A saved model with named classes.

    Raises:
        ValueError: As `load_vision_model`; or weights that know no names of classes.
    """
    found = load_vision_model(path, device)
    if not isinstance(found, ImageClassifier):
        raise ValueError(
            f"{path}: these weights do not say what images and classes are theirs; fine-tune them first: "
            f"xlstm-apps vision finetune --from_model {path} --data.path FOLDER"
        )
    return found
