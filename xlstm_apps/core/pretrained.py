"""Saving and loading: `config.json` + `model.safetensors`, the layout of the Hugging Face Hub."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, get_args, get_type_hints

from huggingface_hub import PyTorchModelHubMixin, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model

from xlstm_apps.core.config import check_options
from xlstm_apps.core.whole_file import whole_file

CONFIG, WEIGHTS = "config.json", "model.safetensors"


class PretrainedMixin(PyTorchModelHubMixin):
    """Adds `save_pretrained`, `from_pretrained` and `push_to_hub` to a module.

    The constructor's arguments are the configuration: plain JSON values and dataclasses of such. Unlike its base class
    this one never unpickles, lets no key of a configuration and no tensor pass unused, and leaves no half-written file.
    """

    def _save_pretrained(self, save_directory: Path) -> None:
        config = json.dumps(self._hub_mixin_config, indent=2, sort_keys=True)
        with whole_file(save_directory / WEIGHTS) as aside:
            save_model(self, str(aside))  # pyright: ignore[reportArgumentType]
        with whole_file(save_directory / CONFIG) as aside:
            aside.write_text(config + "\n", encoding="utf-8")

    @classmethod
    def from_pretrained(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls, source: str | os.PathLike[str], *, map_location: str = "cpu", **download: Any
    ) -> Self:
        """Build the model that `save_pretrained` wrote, in evaluation mode.

        Args:
            source: A folder, or the name of a repository on the Hugging Face Hub.
            map_location: Device to load to.
            download: For the Hub: `revision`, `cache_dir`, `token`, `force_download`, `local_files_only`.

        Raises:
            ValueError: A file is missing or broken, an option is unknown, or the weights do not fit the configuration.
        """
        config = _read_config(_fetch(source, CONFIG, download))
        weights = _fetch(source, WEIGHTS, download)
        try:
            model = cls(**_arguments(cls, config))
            load_model(model.to(map_location), weights, strict=True, device=map_location)  # pyright: ignore
        except (ValueError, TypeError, RuntimeError, SafetensorError) as error:
            reason = " ".join(line.strip() for line in str(error).splitlines()[:2])
            raise ValueError(f"{source}: cannot build a {cls.__name__}: {reason}") from error
        return model.eval()  # pyright: ignore[reportAttributeAccessIssue]


def stored_config(source: str | os.PathLike[str], **download: Any) -> dict[str, Any]:
    """Content of the `config.json` of a saved model, to see what kind it is.

    Args:
        source: As in `from_pretrained`.
        download: As there.

    Raises:
        ValueError: The file is missing or broken.
    """
    return _read_config(_fetch(source, CONFIG, download))


def _fetch(source: str | os.PathLike[str], name: str, download: Mapping[str, Any]) -> Path:
    folder = Path(source)
    if folder.is_dir():
        if not (folder / name).is_file():
            found = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
            raise ValueError(f"{folder}: no {name} in this folder, which holds {found}; pickled weights are not loaded")
        return folder / name
    if not isinstance(source, str) or source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise ValueError(f"{source}: no such folder")
    try:
        return Path(hf_hub_download(source, name, **download))
    except (EntryNotFoundError, HfHubHTTPError) as error:
        raise ValueError(f"{source}: no such folder, and no {name} in a Hub repository of that name") from error


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path}: expected an object of options, found {type(config).__name__}")
    return config


def _arguments(cls: type, config: Mapping[str, Any]) -> dict[str, Any]:
    """Constructor arguments from a configuration: dictionaries become the dataclasses the constructor asks for."""
    parameters = [name for name in inspect.signature(cls.__init__).parameters if name != "self"]
    hints = get_type_hints(cls.__init__)
    arguments: dict[str, Any] = {}
    check_options(config, parameters)
    for name, value in config.items():
        kinds = [kind for kind in (hints.get(name), *get_args(hints.get(name))) if dataclasses.is_dataclass(kind)]
        if kinds and isinstance(value, Mapping):
            kind = kinds[0]  # the dataclass itself, or that of `Dataclass | None`
            check_options(value, [field.name for field in dataclasses.fields(kind)], section=f"{name}.")
            value = kind(**value)  # pyright: ignore[reportCallIssue]
        arguments[name] = value
    return arguments
