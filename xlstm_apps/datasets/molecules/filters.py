"""Which molecules to keep: ranges of properties, structural alerts, substructures, each reject with its reason."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from .chemistry import chemistry, quiet
from .properties import PROPERTIES, calculator

Alert = Literal["pains", "brenk", "nih", "zinc"]
_CONDITION = re.compile(r"\s*([a-z_]+)\s*(<=|>=|<|>|=)\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*$", re.IGNORECASE)
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": lambda value, border: value <= border,
    ">=": lambda value, border: value >= border,
    "<": lambda value, border: value < border,
    ">": lambda value, border: value > border,
    "=": lambda value, border: value == border,
}


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A property and the border it must keep to."""

    name: str
    sign: str
    border: float

    @classmethod
    def parse(cls, text: str) -> "Condition":
        """`mw<=500` as a condition.

        Raises:
            ValueError: Another form, or no such property.
        """
        match = _CONDITION.match(text)
        if match is None:
            raise ValueError(f"keep {text!r} is no condition; write it as mw<=500, with <, <=, >, >= or =")
        name = match[1].lower()
        if name not in PROPERTIES:
            raise ValueError(f"keep {text!r}: no property {name!r}; there are {', '.join(PROPERTIES)}")
        return cls(name=name, sign=match[2], border=float(match[3]))

    def __str__(self) -> str:
        return f"{self.name}{self.sign}{self.border:g}"


@dataclass(frozen=True, kw_only=True)
class FilterConfig:
    """What a molecule must have, and must not."""

    keep: Sequence[str] = ()
    """Conditions such as `mw<=500`."""
    alerts: Sequence[Alert] = ()
    """Catalogues of troublesome groups: pains (Baell and Holloway 2010), brenk (Brenk et al. 2008), nih, zinc."""
    contains: Sequence[str] = ()
    """SMARTS that all must be there."""
    lacks: Sequence[str] = ()
    """SMARTS of which none may be there."""


class MoleculeFilter:
    """Stages that a molecule passes one after another, the cheapest first.

    Args:
        config: What to ask for.

    Attributes:
        stages: Their names, in order.
        properties: Those that conditions name.

    Raises:
        ValueError: A condition, a catalogue or a SMARTS that cannot be read.
    """

    def __init__(self, config: FilterConfig) -> None:
        conditions = [Condition.parse(text) for text in config.keep]
        self.properties = tuple(dict.fromkeys(condition.name for condition in conditions))
        self._stages: list[tuple[str, Callable[[Any], str | None]]] = []
        for smarts in config.contains:
            self._stages.append((f"contains {smarts}", _containing(smarts, wanted=True)))
        for smarts in config.lacks:
            self._stages.append((f"lacks {smarts}", _containing(smarts, wanted=False)))
        for condition in conditions:
            self._stages.append((str(condition), _within(condition)))
        for name in config.alerts:
            self._stages.append((f"no {name} alert", _without_alerts(name)))
        self.stages = [name for name, _ in self._stages]

    def __call__(self, mol: Any) -> tuple[str, str] | None:
        """The stage that a molecule does not pass, and what it found there; None if it passes all."""
        for name, judge in self._stages:
            found = judge(mol)
            if found is not None:
                return name, found
        return None


def _within(condition: Condition) -> Callable[[Any], str | None]:
    value_of, keeps = calculator(condition.name), _COMPARISONS[condition.sign]

    def judge(mol: Any) -> str | None:
        value = value_of(mol)
        return None if keeps(value, condition.border) else f"{condition.name} {value:.4g}"

    return judge


def _containing(smarts: str, *, wanted: bool) -> Callable[[Any], str | None]:
    with quiet():
        pattern = chemistry().MolFromSmarts(smarts)
    if pattern is None or pattern.GetNumAtoms() == 0:
        raise ValueError(f"{smarts!r} is no SMARTS; write a pattern such as c1ccncc1 or [N+](=O)[O-]")
    found = "not there" if wanted else "there"
    return lambda mol: None if mol.HasSubstructMatch(pattern) is wanted else found


def _without_alerts(name: str) -> Callable[[Any], str | None]:
    if name not in get_args(Alert):
        raise ValueError(f"alerts {name!r} is not one of {', '.join(get_args(Alert))}")
    chemistry()
    from rdkit.Chem.FilterCatalog import FilterCatalog, FilterCatalogParams

    catalogue = FilterCatalog(FilterCatalogParams(getattr(FilterCatalogParams.FilterCatalogs, name.upper())))

    def judge(mol: Any) -> str | None:
        match = catalogue.GetFirstMatch(mol)
        return None if match is None else match.GetDescription()

    return judge
