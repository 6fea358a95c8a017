"""Which values the fields of settings may hold, checked for those who do not come through the command line."""

import typing
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union


def check_choices(settings: Any, section: str = "") -> None:
    """Refuse a value that the `Literal` type of its field does not allow; fields that take other types too are left.

    Args:
        settings: A dataclass.
        section: What the fields are called with in messages, such as `fit.`.

    Raises:
        ValueError: Names the field, what it may be and what it is.
    """
    for name, choices in _choices(type(settings)).items():
        value = getattr(settings, name)
        if value not in choices:
            raise ValueError(f"{section}{name} is one of {', '.join(map(str, choices))}, not {value!r}")


@cache
def _choices(kind: type) -> dict[str, tuple[Any, ...]]:
    found = {}
    for name, hint in typing.get_type_hints(kind).items():
        members = typing.get_args(hint) if typing.get_origin(hint) in (Union, UnionType) else (hint,)
        if all(member is NoneType or typing.get_origin(member) is Literal for member in members):
            found[name] = tuple(value for member in members for value in (typing.get_args(member) or (None,)))
    return found
