"""Where a saved model lies, and the device it is used on."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch

from xlstm_apps.core.pretrained import CONFIG


def model_folder(path: str | Path, verbs: Mapping[str, str]) -> Path:
    """The folder of the model: `model` in that of a run, else as given.

    Args:
        path: Folder of a run, or of a model.
        verbs: The tasks whose runs hold such a model, and the command that trains each.

    Raises:
        ValueError: A run of another task, or one without a model.
    """
    folder = Path(path).expanduser()
    if not (folder / "run.json").is_file():
        return folder
    task = json.loads((folder / "run.json").read_text(encoding="utf-8")).get("task")
    if task not in verbs:
        wanted = " or ".join(f"`{verb}`" for verb in verbs.values())
        raise ValueError(f"{path} is the run of another task ({task}); give one of {wanted}")
    if not (folder / "model" / CONFIG).is_file():
        raise ValueError(
            f"{path}: this run has no model yet; finish it with: xlstm-apps {verbs[task]} --run_dir {path} --resume, "
            "and the options it was begun with"
        )
    return folder / "model"


def model_source(path: str | Path, folder: Path) -> str:
    """What to load from: the folder that `model_folder` found, or the name as given, which may be one on the Hub."""
    return str(folder) if folder.exists() else str(path)


def resolve_device(device: str | torch.device) -> torch.device:
    """The device of that name.

    Raises:
        ValueError: There is none here.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError:
        raise ValueError(f"device {device!r} is not known; give auto, cpu, cuda or mps") from None
    if (found.type == "cuda" and not torch.cuda.is_available()) or (
        found.type == "mps" and not torch.backends.mps.is_available()
    ):
        raise ValueError(f"device {device} is not on this machine; give auto or cpu")
    return found


def usable(accelerator: str) -> str:
    """The accelerator a model was trained on, or `auto` where this machine has none such: trained on a GPU, used where
    there is none."""
    try:
        resolve_device(accelerator)
    except ValueError:
        return "auto"
    return accelerator
