"""What the estimators of sequences and of images have in common: a trained model, saved with the arguments."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from rich.console import Console
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from xlstm_apps import training
from xlstm_apps.estimators.saved import resolve_device, usable
from xlstm_apps.training import FitConfig, files

_SAVED = "estimator.json"


class FittedEstimator(BaseEstimator):
    """An estimator around one model, `model_`; a subclass names its class and what else `fit` found."""

    _model_class: ClassVar[Any]

    def save(self, path: str | Path) -> None:
        """Write a folder: the model, the arguments and what `fit` found. The commands read it as they do a run.

        Raises:
            NotFittedError: `fit` was not called.
        """
        self._check_fitted()
        arguments = self.get_params(deep=False)
        if not isinstance(arguments["from_model"], str | Path | None):
            arguments["from_model"] = None  # its weights are in those that are saved
        facts = {
            "kind": type(self).__name__,
            "arguments": {k: str(v) if isinstance(v, Path) else v for k, v in arguments.items()},
            "fitted": self._facts(),
            "history": self.history_,
            "best_epoch": self.best_epoch_,
        }
        with files.replacing_folder(path) as aside:
            self.model_.save_pretrained(aside)
            files.write_text(aside / _SAVED, json.dumps(facts, indent=2, default=_plain) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote, wherever it was trained.

        Raises:
            ValueError: `path` is no such folder, or one of another kind of estimator.
        """
        file = Path(path) / _SAVED
        if not file.is_file():
            raise ValueError(f"{path} holds no saved estimator (no {_SAVED})")
        facts = json.loads(file.read_text(encoding="utf-8"))
        kind = facts.get("kind")
        if kind != cls.__name__:
            raise ValueError(f"{path} holds a {kind}; read it with {kind}.load")
        arguments = facts["arguments"]
        self = cls(**{**arguments, "accelerator": usable(arguments["accelerator"])})
        self.model_ = cls._model_class.from_pretrained(str(path))
        self.history_, self.best_epoch_ = facts["history"], facts["best_epoch"]
        self._restore(facts["fitted"])
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def _check_fitted(self) -> None:
        if not hasattr(self, "model_"):
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet: call fit(X, y) first")

    def _on_device(self) -> Any:
        return self.model_.to(resolve_device(self.accelerator)).eval()

    def _fit_config(self) -> FitConfig:
        fit = FitConfig(
            max_epochs=self.max_epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            patience=self.patience,
            accelerator=self.accelerator,
        )
        training.check(fit)
        return fit

    def _console(self) -> Console | None:
        return Console(stderr=True) if self.progress else None

    def _facts(self) -> dict[str, Any]:
        """What `_restore` needs, JSON-able."""
        raise NotImplementedError

    def _restore(self, facts: Mapping[str, Any]) -> None:
        raise NotImplementedError


def held_out(strata: np.ndarray | None, fraction: float, seed: int, size: int) -> np.ndarray:
    """Which examples are for validation, of every class alike: bool [N].

    Raises:
        ValueError: A fraction that is none.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"val_fraction is a share of what is given to fit, at least 0 and below 1, not {fraction}")
    held = np.zeros(size, bool)
    generator = np.random.default_rng((seed, size))
    for kind in np.unique(strata) if strata is not None else (None,):
        members = np.arange(size) if kind is None else np.flatnonzero(strata == kind)
        members = generator.permutation(members)
        count = round(fraction * len(members)) if len(members) >= 5 else 0
        held[members[:count]] = True
    if not held.any() and fraction > 0 and size >= 5:
        held[generator.integers(size)] = True
    return held


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)
