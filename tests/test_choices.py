"""Every choice of every section is checked, whether it comes through the command line or not."""

import dataclasses
import importlib
import pkgutil
import typing
from types import NoneType
from typing import Literal

import pytest

import xlstm_apps


def choices():
    """Every field of a config dataclass that takes words of a list only."""
    for module in pkgutil.walk_packages(xlstm_apps.__path__, "xlstm_apps."):
        if not module.name.endswith("config"):
            continue
        for kind in vars(importlib.import_module(module.name)).values():
            if not (isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind.__module__ == module.name):
                continue
            hints = typing.get_type_hints(kind)
            for field in dataclasses.fields(kind):
                members = typing.get_args(hints[field.name])
                origins = {typing.get_origin(one) for one in members if one is not NoneType}
                if typing.get_origin(hints[field.name]) is Literal or origins == {Literal}:
                    yield kind, field.name


FIELDS = sorted(choices(), key=lambda pair: (pair[0].__name__, pair[1]))


def test_there_are_such_fields():
    assert len(FIELDS) > 50


@pytest.mark.parametrize(("kind", "name"), FIELDS, ids=lambda value: getattr(value, "__name__", value))
def test_a_word_that_is_no_choice_is_refused(kind, name):
    missing = (dataclasses.MISSING, dataclasses.MISSING)
    hints = typing.get_type_hints(kind)
    needed = {f.name: hints[f.name] for f in dataclasses.fields(kind) if (f.default, f.default_factory) == missing}
    given = {key: "x" if hint is str else ["x", "y"] for key, hint in needed.items()}
    with pytest.raises(ValueError, match=rf"{name}.* is one of"):
        kind(**{**given, name: "banana"})
