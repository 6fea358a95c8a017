"""What the training that left a model noted of it: in its run folder, which the model is given by or lies in."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml


def training_window(path: str | Path) -> int | None:
    """Symbols in a window of the training; None where nothing says it."""
    for place in _places(path):
        if (place / "data_summary.json").is_file():
            length = json.loads((place / "data_summary.json").read_text(encoding="utf-8")).get("context_length")
            return int(length) if length else None
    return None


def training_data(path: str | Path) -> dict[str, Any] | None:
    """The `data` section of the training, as far as it was given; None where nothing says it."""
    for place in _places(path):
        if (place / "config.yaml").is_file() and (place / "run.json").is_file():
            return yaml.safe_load((place / "config.yaml").read_text(encoding="utf-8")).get("data") or {}
    return None


def _places(path: str | Path) -> Iterator[Path]:
    folder = Path(path).expanduser()
    yield from (folder, folder.parent)
