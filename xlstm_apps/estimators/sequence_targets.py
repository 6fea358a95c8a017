"""What is to be predicted, made of labels as people write them: classes, labels, numbers, of sequences or symbols."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from xlstm_apps.biosequence.config import HeadConfig
from xlstm_apps.biosequence.heads import MISSING

MOST_CLASSES = 20
"""Whole numbers of more than so many kinds are quantities, not classes, unless the task says otherwise."""
_UNKNOWN = ("?", "")
_LIKE_MISSING = ("?", "na", "n/a", "nan", "null", "none", "unknown")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_YES, _NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")


@dataclass(frozen=True)
class Targets:
    """Targets of N records."""

    head: HeadConfig
    """With task, number of outputs and names."""
    values: Any
    """Classes int64 [N], -1 = missing; labels or numbers float32 [N, O], NaN = missing; of symbols a list of N arrays
    with T before O."""
    notes: list[str] = field(default_factory=list)
    """What was decided, for the user."""

    @property
    def known(self) -> np.ndarray:
        """Whether anything is known of a record: bool [N]."""
        if self.head.task == "classification":
            if not self.head.per_symbol:
                return self.values != MISSING
            return np.array([(x != MISSING).any() for x in self.values], bool)
        if not self.head.per_symbol:
            return ~np.isnan(self.values).all(1)
        return np.array([~np.isnan(x).all() for x in self.values], bool)

    def counts(self, records: np.ndarray) -> dict[str, int]:
        """Records, or symbols, of each class or label among some records."""
        chosen = [self.values[i] for i in records.tolist()] if self.head.per_symbol else self.values[records]
        names = self.head.names or ()
        if self.head.task == "classification":
            flat = np.concatenate(chosen) if self.head.per_symbol and chosen else np.asarray(chosen, np.int64)
            found = np.bincount(flat[flat != MISSING].astype(np.int64), minlength=len(names))
        elif self.head.task == "multilabel":
            flat = np.concatenate(chosen) if self.head.per_symbol and chosen else np.asarray(chosen)
            found = np.nansum(flat.reshape(-1, len(names)), 0)
        else:
            return {}
        return {name: int(n) for name, n in zip(names, found.tolist(), strict=True)}


def read_targets(
    labels: Sequence[Any],
    head: HeadConfig,
    *,
    columns: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
    lengths: np.ndarray | None = None,
) -> Targets:
    """Targets of labels as a corpus holds them: text, numbers, lists of numbers, None.

    Args:
        labels: One per record.
        head: What is wanted; what it leaves open is seen from the labels.
        columns: Names of the columns the labels come from.
        ids: Names of the records, for messages.
        lengths: Symbols per record; needed per symbol.

    Raises:
        ValueError: No labels, labels that do not fit the task, one class only, a label of symbols that is not as long
            as its record; names the record.
    """
    names = [f"{n}" for n in range(1, len(labels) + 1)] if ids is None else ids
    labels = [None if _is_missing(x) else x for x in labels]
    if all(label is None for label in labels):
        raise ValueError(
            "there are no labels: give a table with a column of them (data.label_columns), one file per class, or "
            "label=... in the headers"
        )
    if head.per_symbol:
        assert lengths is not None
        return _of_symbols(labels, head, names, lengths)
    rows = any(isinstance(label, list | tuple | np.ndarray) for label in labels)
    numeric = all(label is None or isinstance(label, int | float) for label in labels)
    if rows:
        return _of_rows(labels, head, columns, names)
    if head.task == "multilabel":
        return _of_lists(labels, head, names)
    if head.task == "regression" or (head.task is None and numeric and not _class_like(labels)):
        return _varied(_numbers([[label] for label in labels], head, columns, names))
    if head.task is None:
        _check_qualified(labels, names)
    targets = _classes(labels, head, names)
    if head.task is None and numeric:
        targets.notes.append(
            f"the labels are whole numbers of {len(targets.head.names or ())} kinds: taken as classes; for quantities "
            "set head.task to regression"
        )
    return targets


def _check_qualified(labels: list[Any], ids: Sequence[str]) -> None:
    """Refuse a column of measurements in which a few cells, such as `>10`, are none, or which are written with a comma,
    and which all would become classes.

    Raises:
        ValueError: names the first such cell.
    """
    texts = [(ids[number], str(label).strip()) for number, label in enumerate(labels) if label is not None]
    name, text = next(((name, text) for name, text in texts if "," in text), ("", ""))
    if text and all(_NUMBER.fullmatch(other.replace(",", ".", 1)) for _, other in texts):
        raise ValueError(
            f"record {name!r}: {text!r} holds a comma; write a point before decimals and nothing between thousands, or "
            "set head.task to classification"
        )
    odd = [(name, text) for name, text in texts if not _NUMBER.fullmatch(text)]
    measured = {text for _, text in texts if _NUMBER.fullmatch(text)}
    if odd and len(measured) > MOST_CLASSES and 2 * len(odd) < len(texts):
        name, text = odd[0]
        raise ValueError(
            f"record {name!r}: {text!r} is no number, and {len(texts) - len(odd):,} of {len(texts):,} labels are; "
            "leave such cells empty, or set head.task to classification"
        )


def _of_rows(labels: list[Any], head: HeadConfig, columns: Sequence[str] | None, ids: Sequence[str]) -> Targets:
    """Several columns: labels where all are 0 and 1, else numbers."""
    width = len(next(label for label in labels if label is not None))
    rows = [[None] * width if label is None else list(label) for label in labels]
    cells = [cell for row in rows for cell in row if not _is_missing(cell)]
    if head.task == "classification":
        raise ValueError(
            "head.task is classification, which takes one column of labels; several columns are multilabel"
        )
    yes_or_no = bool(cells) and all(str(cell).lower() in _YES + _NO for cell in cells)
    if head.task == "multilabel" or (head.task is None and yes_or_no):
        if not yes_or_no:
            odd = next(cell for cell in cells if str(cell).lower() not in _YES + _NO)
            raise ValueError(f"labels of multilabel are 0 or 1 in every column, found {odd!r}")
        values = np.full((len(rows), width), np.nan, np.float32)
        for number, row in enumerate(rows):
            for column, cell in enumerate(row):
                if not _is_missing(cell):
                    values[number, column] = str(cell).lower() in _YES
        return Targets(_finished(head, "multilabel", head.names or columns, width), values)
    return _varied(_numbers(rows, head, columns, ids))


def _varied(targets: Targets) -> Targets:
    """Refuse a column of numbers that are all the same.

    Raises:
        ValueError: names the number.
    """
    for column in targets.values.T.tolist():
        found = [value for value in column if np.isfinite(value)]
        if len(found) > 1 and min(found) == max(found):
            raise ValueError(f"all labels are {min(found):g}; to learn a difference there must be two values at least")
    return targets


def _of_lists(labels: list[Any], head: HeadConfig, ids: Sequence[str]) -> Targets:
    """Text such as `nucleus;membrane`: each word is a label; `-` is none of them."""
    found = [None if label is None else _words(str(label)) for label in labels]
    names = head.names or tuple(sorted({word for words in found if words for word in words}))
    values = np.full((len(found), len(names)), np.nan, np.float32)
    for number, words in enumerate(found):
        if words is None:
            continue
        for word in words:
            if word not in names:
                raise ValueError(f"record {ids[number]!r}: label {word!r} is none of head.names ({', '.join(names)})")
        values[number] = [name in words for name in names]
    return Targets(_finished(head, "multilabel", names, len(names)), values)


def _classes(labels: list[Any], head: HeadConfig, ids: Sequence[str]) -> Targets:
    texts = [None if label is None else _text(label) for label in labels]
    counts = Counter(text for text in texts if text is not None)
    names = head.names or tuple(_in_order(counts))
    if len(names) < 2:
        raise ValueError(f"all labels are {names[0]!r}; to learn a difference there must be two classes at least")
    number_of = {name: number for number, name in enumerate(names)}
    for number, text in enumerate(texts):
        if text is not None and text not in number_of:
            raise ValueError(f"record {ids[number]!r}: class {text!r} is none of head.names ({', '.join(names)})")
    values = np.array([MISSING if text is None else number_of[text] for text in texts], np.int64)
    notes = []
    if head.names is None and head.task is None and len(names) == counts.total() > MOST_CLASSES:
        raise ValueError(
            f"all {len(names):,} labels are different ({', '.join(names[:3])} ...), so there is nothing to learn of a "
            "class; is this the column of the labels? Numbers stand without units"
        )
    alike = Counter(name.casefold() for name in names)
    if head.names is None and (cased := [name for name in names if alike[name.casefold()] > 1]):
        notes.append(f"classes that differ by upper and lower case only: {', '.join(cased[:6])}")
    if head.names is None and (missing := [name for name in names if name.lower() in _LIKE_MISSING]):
        notes.append(f"{', '.join(missing)}: taken for a class; leave cells empty where nothing is known")
    if head.names is None and len(names) > max(MOST_CLASSES, len(texts) // 3):
        notes.append(f"{len(names)} classes in {len(texts)} records: is this the column of the classes?")
    return Targets(_finished(head, "classification", names, len(names)), values, notes)


def _numbers(rows: list[list[Any]], head: HeadConfig, columns: Sequence[str] | None, ids: Sequence[str]) -> Targets:
    width = len(rows[0])
    values = np.full((len(rows), width), np.nan, np.float32)
    for number, row in enumerate(rows):
        for column, cell in enumerate(row):
            if _is_missing(cell):
                continue
            try:
                values[number, column] = float(cell)
            except ValueError:
                raise ValueError(
                    f"record {ids[number]!r}: {cell!r} is no number; for classes set head.task to classification"
                ) from None
            if not np.isfinite(values[number, column]):
                raise ValueError(f"record {ids[number]!r}: the target {cell!r} is not finite; leave the cell empty")
    return Targets(_finished(head, "regression", head.names or columns, width), values)


def _of_symbols(labels: list[Any], head: HeadConfig, ids: Sequence[str], lengths: np.ndarray) -> Targets:
    """One character per symbol (`HHHEEC`, `0110`, `?` = not known), or numbers in a list or parted by commas."""
    if head.task == "multilabel":
        raise ValueError("head.per_symbol with multilabel is not read from files; use classification or regression")
    texts: list[list[Any] | None] = []
    for number, label in enumerate(labels):
        cells: list[Any] | None
        if label is None:
            cells = None
        elif isinstance(label, str):
            cells = label.replace(",", " ").split() if "," in label or " " in label.strip() else list(label)
        else:
            cells = list(label) if isinstance(label, list | tuple | np.ndarray) else [label]
        if cells is not None and len(cells) != lengths[number]:
            raise ValueError(
                f"record {ids[number]!r}: {len(cells)} labels for {lengths[number]} symbols; head.per_symbol takes one "
                "for each, as a string of characters or numbers parted by commas"
            )
        texts.append(cells)
    if head.task == "regression":
        values = []
        for number, cells in enumerate(texts):
            cells = [None] * int(lengths[number]) if cells is None else cells
            found = _numbers(
                [[None if cell in _UNKNOWN else cell] for cell in cells], head, None, [ids[number]] * len(cells)
            )
            values.append(found.values)
        return Targets(_finished(head, "regression", head.names, 1), values)
    known = Counter(_text(cell) for cells in texts if cells for cell in cells if not _unknown(cell))
    names = head.names or tuple(_in_order(known))
    if len(names) < 2:
        raise ValueError(f"all symbols are labelled {names[0] if names else '?'!r}; there must be two classes at least")
    number_of = {name: number for number, name in enumerate(names)}
    values = []
    for number, cells in enumerate(texts):
        row = np.full(int(lengths[number]), MISSING, np.int64)
        for place, cell in enumerate(cells or []):
            if _unknown(cell):
                continue
            if _text(cell) not in number_of:
                raise ValueError(f"record {ids[number]!r}: class {cell!r} is none of head.names ({', '.join(names)})")
            row[place] = number_of[_text(cell)]
        values.append(row)
    return Targets(_finished(head, "classification", names, len(names)), values)


def _finished(head: HeadConfig, task: Any, names: Sequence[str] | None, count: int) -> HeadConfig:
    """The head with what the data says; what the user said must not contradict it."""
    if head.num_outputs is not None and head.num_outputs != count:
        raise ValueError(
            f"head.num_outputs is {head.num_outputs}, and the labels have {count} for {task}; leave it out"
        )
    if names is not None and len(names) != count:
        raise ValueError(f"head.names has {len(names)} names, and there are {count} columns of labels")
    if names is None:
        names = ["target"] if count == 1 else [f"target_{n}" for n in range(1, count + 1)]
    return replace(head, task=task, num_outputs=count, names=tuple(names))


def _class_like(labels: list[Any]) -> bool:
    kinds = {label for label in labels if label is not None}
    return all(float(kind).is_integer() for kind in kinds) and len(kinds) <= MOST_CLASSES


def _in_order(names: Any) -> list[str]:
    """Sorted, as numbers where all are."""
    try:
        return sorted(names, key=float)
    except ValueError:
        return sorted(names)


def _text(label: Any) -> str:
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    return str(label).strip()


def _words(text: str) -> set[str]:
    return {word.strip() for word in text.replace(",", ";").split(";") if word.strip() not in ("", "-")}


def _unknown(cell: Any) -> bool:
    return _is_missing(cell) or cell in _UNKNOWN


def _is_missing(value: Any) -> bool:
    return (
        value is None or (isinstance(value, float) and value != value) or (isinstance(value, str) and not value.strip())
    )
