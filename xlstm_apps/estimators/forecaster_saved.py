"""A fitted `XLSTMForecaster` as a folder: the trained forecaster, the arguments, and the end of the history."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xlstm_apps.estimators.history import load_history, save_history, tail_of
from xlstm_apps.estimators.saved import usable
from xlstm_apps.estimators.trained import TrainedForecaster
from xlstm_apps.training import files

if TYPE_CHECKING:
    from xlstm_apps.estimators.forecaster import XLSTMForecaster

_FILE = "estimator.json"


def write(forecaster: "XLSTMForecaster", path: str | Path) -> None:
    """Write a fitted forecaster, whole or not at all."""
    f = forecaster
    arguments = f.get_params()
    facts = {
        "arguments": {name: _plain(value) for name, value in arguments.items()},
        "tuples": [name for name, value in arguments.items() if isinstance(value, tuple)],
        "kind": f._kind_,
        "history": f.history_,
        "best_epoch": f.best_epoch_,
    }
    with files.replacing_folder(path) as aside:
        f._trained_.save(aside)
        save_history(tail_of(f._table_, f.model_.head.context_length), aside)
        files.write_json(aside / _FILE, facts)


def read(kind: "type[XLSTMForecaster]", path: str | Path) -> "XLSTMForecaster":
    """The forecaster that `write` wrote, its arguments equal to those it was made with.

    Raises:
        ValueError: `path` is no such folder.
    """
    path = Path(path)
    if not (path / _FILE).is_file():
        raise ValueError(f"{path} holds no saved forecaster (no {_FILE})")
    facts = json.loads((path / _FILE).read_text(encoding="utf-8"))
    arguments = facts["arguments"]
    arguments |= {name: tuple(arguments[name]) for name in facts.get("tuples", ())}
    f = kind(**{**arguments, "accelerator": usable(arguments["accelerator"])})
    f._trained_ = TrainedForecaster.load(path)
    f.model_ = f._trained_.model
    f.history_, f.best_epoch_ = facts["history"], facts["best_epoch"]
    f._table_, f._split_, f._kind_ = load_history(path), None, facts["kind"]
    return f


def _plain(value: Any) -> Any:
    """Numbers and arrays of NumPy as Python has them, which is what JSON can hold."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
