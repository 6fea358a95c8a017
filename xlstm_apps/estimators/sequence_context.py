"""Homologs drawn from a family, and the state of a model that has read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from xlstm_apps.biosequence.family import FamilyContext, check_family_model, read_homologs
from xlstm_apps.biosequence.model import SequenceModel
from xlstm_apps.biosequence.tokenizer import Tokenizer
from xlstm_apps.datasets.sequences.corpus_writer import fingerprint
from xlstm_apps.datasets.sequences.family_file import Family

UNKNOWN_ROOM = 2**14


@dataclass(frozen=True, kw_only=True)
class DrawOptions:
    """Which homologs are drawn."""

    draws: int = 1
    """How many contexts to make, each of homologs of its own."""
    num_homologs: int | None = 200
    """Most homologs in each."""
    max_symbols: int | None = None
    """Most symbols in each."""
    max_identity: float | None = None
    min_identity: float | None = None
    """As `Family.draw`."""
    with_query: bool = False
    """Show the query itself, as the last."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ValueError(f"draws {self.draws} must be at least 1")
        for name in ("num_homologs", "max_symbols"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} {value} must not be negative")
        for name in ("max_identity", "min_identity"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} {value} is a share, from 0 to 1")


def build_context(
    model: SequenceModel,
    family: Family,
    options: DrawOptions,
    *,
    on_bad: Literal["error", "skip"] = "error",
    about: Mapping[str, Any] | None = None,
    advance: Callable[[int], None] | None = None,
) -> tuple[FamilyContext, list[str]]:
    """Draw homologs, let the model read them, and say what a user of the result should know.

    Args:
        model: A causal model of proteins.
        family: Where the homologs come from.
        options: Which are drawn.
        on_bad: What to do with homologs of characters that no protein holds: `error` stops, `skip` leaves them out.
        about: What to remember beside what is known here.
        advance: Called with a number of homologs that are read.

    Raises:
        ValueError: Another kind of model, a homolog that `on_bad` calls an error, or bounds without a query.
    """
    check_family_model(model)
    encoded, notes = encode_homologs(family, model, on_bad)
    if options.with_query and family.query is None:
        raise ValueError(f"family {family.name}: with_query needs a query; name it with --query")
    states, facts = [], []
    for number in range(options.draws):
        rng = np.random.default_rng((options.seed, number))
        drawn = family.draw(
            rng, options.num_homologs, max_symbols=options.max_symbols, max_identity=options.max_identity,
            min_identity=options.min_identity,
        )  # fmt: skip
        shown = [encoded[n] for n in drawn]
        names = [family.records[n].id for n in drawn]
        if options.with_query and family.query is not None:
            shown.append(Tokenizer(model.alphabet).fold(np.frombuffer(family.query.sequence, np.uint8)))
            names.append(family.query.id)
        identity = [] if family.identity is None else [round(float(family.identity[n]), 4) for n in drawn]
        facts.append({"homologs": names, "identity": identity, "symbols": sum(len(ids) for ids in shown)})
        states.append(shown)
    context = read_homologs(
        model,
        states,
        {
            "family": family.name,
            "aligned": family.aligned,
            "sequences": len(family),
            "effective": round(float(family.weights.sum()), 2),
            "query": None if family.query is None else family.query.id,
            **asdict(options),
            "contexts": facts,
            **(about or {}),
        },
        advance=advance,
    )
    return context, [*family.notes, *notes, *_remarks(family, facts, options)]


def encode_homologs(
    family: Family, model: SequenceModel, on_bad: Literal["error", "skip"]
) -> tuple[list[np.ndarray], list[str]]:
    """Ids of the sequences of a family, and what to say of those left out, whose place they lose their symbols.

    Raises:
        ValueError: One that cannot be read, where `on_bad` calls that an error.
    """
    tokenizer, out, bad = Tokenizer(model.alphabet), [], []
    for record in family.records:
        try:
            out.append(tokenizer.fold(np.frombuffer(record.sequence, np.uint8)))
        except ValueError as error:
            if on_bad == "error":
                raise ValueError(
                    f"{record.where()}: {error}; set on_bad to 'skip' to leave such homologs out"
                ) from None
            bad.append(record)
            out.append(np.zeros(0, np.uint8))
    for record in bad:
        record.sequence = b""  # what is empty is never drawn
    first = f" (first: {bad[0].id})" if bad else ""
    return out, [f"homologs left out, characters that no protein holds: {len(bad):,}{first}"] if bad else []


def _remarks(family: Family, facts: list[dict[str, Any]], options: DrawOptions) -> list[str]:
    if not any(fact["homologs"] for fact in facts):
        shortest = min((len(record.sequence) for record in family.records if record.sequence), default=0)
        bounds = "" if len(family) == 1 else " within the bounds of identity"
        if bounds and options.max_symbols is not None:
            bounds += f" and of max_symbols ({options.max_symbols:,}; the shortest has {shortest:,})"
        return [f"no homolog to show in {family.name}{bounds}: what is asked behind this context is asked without one"]
    if len(facts) > 1 and all(fact["homologs"] == facts[0]["homologs"] for fact in facts):
        return [
            "all draws hold the same homologs, since all that fit are shown; lower num_homologs to make them differ"
        ]
    return []


def source_facts(model: str | Path, path: str | Path) -> dict[str, Any]:
    """What a context says of its origin: the model that read it, the file it was read from, and the hash of that."""
    sample = str(path).startswith("sample:")
    return {"model": str(model), "source": str(path), "source_sha256": None if sample else fingerprint(path)}
