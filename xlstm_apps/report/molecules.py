"""Pages of the verbs about molecules: what was generated, what was filtered, what is like others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from xlstm_apps.datasets.molecules.metrics import Value, few_molecules

from . import charts
from .blocks import Cell, Chart, Column, Headline, Notice, Section, Table, Tile
from .molecule_blocks import MoleculeSet, funnel, gallery, histograms, metrics, share_of, structures
from .numbers import ABSENT, count, percent
from .page import assemble, write_page


@dataclass(frozen=True, kw_only=True)
class Similar:
    """Draws of a model and how like the molecules given they are."""

    name: str
    similarity: Sequence[float]
    """Of the new molecules to the nearest given."""
    draws: int
    known: int
    repeated: int


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """What the page of `like` shows."""

    subject: str
    given: Sequence[str]
    smiles: Sequence[str]
    legends: Sequence[str]
    draws: Sequence[Similar]
    """Those with the molecules given, then those of the model as it was."""
    notes: Sequence[str] = field(default_factory=list)


def write_evaluation(
    path: str | Path,
    *,
    subject: str,
    smiles: Sequence[str],
    values: Sequence[Value],
    beside: Sequence[Value] = (),
    training: Sequence[str] | None = None,
    held_out: Sequence[str] | None = None,
    remarks: Sequence[str] = (),
) -> Path:
    """Write the page of generated molecules beside those they are to be like.

    Args:
        path: File to write, in a folder that exists.
        subject: What was generated, a few words.
        smiles: Those that are molecules, canonical.
        values: From `compare_sets`.
        beside: The same of molecules drawn from training.
        training: What the model learned from: drawn molecules that are new come first.
        held_out: What they are compared with.
        remarks: What a reader should know.
    """
    known = set(training or ())
    distinct = list(dict.fromkeys(smiles))
    new = [text for text in distinct if text not in known]
    sets = [MoleculeSet.of("generated", smiles)]
    sets += [MoleculeSet.of("training", training)] if training else []
    sets += [MoleculeSet.of("held-out", held_out)] if held_out else []
    lead = f"The first that are distinct and not in training, of {len(new):,}." if known else "The first distinct ones."
    sections = [
        metrics(values, beside, " ".join(f"{text[:1].upper()}{text[1:]}." for text in remarks)),
        *gallery(structures(new), "Structures", lead),
    ]
    sections += [section for section in (histograms(sets),) if section is not None]
    return write_page(Path(path), assemble(_judged(subject, values), sections))


def write_funnel(
    path: str | Path,
    *,
    subject: str,
    read: int,
    stages: Sequence[tuple[str, int, int]],
    kept: Sequence[str],
    names: Sequence[str],
    rejected: Sequence[str],
) -> Path:
    """Write the page of molecules that were filtered.

    Args:
        path: File to write, in a folder that exists.
        subject: What was filtered, a few words.
        read: How many records there were.
        stages: Name of each filter, how many it took, how many were left behind it.
        kept: SMILES of what passed.
        names: Of these.
        rejected: SMILES of what did not; what is no molecule among them is not looked at.
    """
    sets = [MoleculeSet.of("kept", kept), MoleculeSet.of("taken out", rejected)]
    sections = [funnel(read, stages), *gallery(structures(kept, names), "What passed")]
    if len(kept):
        sections += [section for section in (histograms(sets),) if section is not None]
    share = len(kept) / read if read else 0.0
    strict = max(stages, key=lambda stage: stage[1], default=("", 0, 0))
    tiles = [
        Tile(label="Read", value=f"{read:,}"),
        Tile(label="Kept", value=f"{len(kept):,}", hint=percent(share, 1)),
    ]
    if strict[1]:
        tiles.append(Tile(label="Taken by one filter", value=f"{strict[1]:,}", hint=charts.shorten(strict[0], 40)))
    headline = Headline(
        subject=subject,
        verdict=f"{len(kept):,} of {count(read, 'molecule')} pass ({percent(share, 1)}).",
        detail="Filters look at structures. They say nothing of whether a molecule works, or is safe.",
        tiles=tiles,
    )
    return write_page(Path(path), assemble(headline, sections))


def write_candidates(path: str | Path, found: Candidates) -> Path:
    """Write the page of molecules that are to be like others."""
    with_them = found.draws[0]
    sections = [
        *gallery(structures(found.smiles, found.legends), "Candidates", "In the order of their rank."),
        _likeness(found.draws),
        *gallery(structures(found.given), "What was given", id="given"),
    ]
    if len(found.smiles):
        sets = [MoleculeSet.of("candidates", found.smiles), MoleculeSet.of("given", found.given)]
        sections += [section for section in (histograms(sets),) if section is not None]
    ours, other = (float(np.mean(own.similarity)) if len(own.similarity) else float("nan") for own in found.draws)
    gain = ours - other
    tiles = [
        Tile(label="Candidates", value=f"{len(found.smiles):,}", hint=f"of {with_them.draws:,} draws"),
        Tile(label="Similarity", value=_told(ours), hint="to the nearest given, mean of what is new"),
        Tile(label="Without them", value=_told(other), hint="the same of the model as it was"),
    ]
    notices = [Notice(title="", text=text, tone="plain") for text in found.notes]
    if not len(found.smiles):
        notices.append(Notice(title="No candidate.", text="Nothing that was drawn is new and passes.", tone="warning"))
    elif not gain > 0.01:
        text = "The model makes as similar ones without the molecules given: nothing was learned from them."
        notices.append(Notice(title="No more like them than before.", text=text, tone="warning"))
    verdict = f"{count(len(found.smiles), 'new molecule')} like {count(len(found.given), 'given one')}"
    if np.isfinite(gain):
        verdict += f"; similarity to the nearest of them {_told(ours)}, and {_told(other)} without them"
    headline = Headline(
        subject=found.subject,
        verdict=f"{verdict}.",
        detail="Tanimoto similarity of Morgan fingerprints. Without them: as many draws of the model as it was, judged "
        "alike. What was given, excluded or drawn twice is no candidate and counts in no similarity.",
        notices=notices,
        tiles=tiles,
    )
    return write_page(Path(path), assemble(headline, sections))


def _judged(subject: str, values: Sequence[Value]) -> Headline:
    valid, unique, novel = (share_of(values, name) for name in ("valid", "unique", "novel"))
    total = valid[1] if valid else 0
    verdict = f"{percent(valid[0], 1)} of {count(total, 'string')} are molecules" if valid else "No string was given"
    verdict += f", {percent(unique[0], 1)} of them distinct" if unique else ""
    verdict += f", {percent(novel[0], 1)} of these not in training" if novel else ""
    tiles = [
        Tile(label=label, value=percent(found[0], 1), hint=f"of {found[1]:,}")
        for label, found in (("Valid", valid), ("Distinct", unique), ("New", novel))
        if found
    ]
    for label, name in (("SNN", "snn"), ("Internal diversity", "int_div"), ("FCD", "fcd")):
        if found := share_of(values, name):
            tiles.append(Tile(label=label, value=f"{found[0]:.3f}", hint=f"of {found[1]:,}"))
    notices = []
    if few := few_molecules(values):
        notices.append(Notice(title="Few molecules.", text=f"{few[0].upper()}{few[1:]}.", tone="plain"))
    if novel and novel[0] < 0.5:
        text = f"{percent(1 - novel[0], 1)} of the distinct ones are in the training set."
        notices.append(Notice(title="Most are copies.", text=text, tone="warning"))
    return Headline(subject=subject, verdict=f"{verdict}.", notices=notices, tiles=tiles)


def _likeness(draws: Sequence[Similar]) -> Section:
    edges = np.linspace(0, 1, 41)
    middle = charts.rounded(((edges[:-1] + edges[1:]) / 2).tolist())
    traces = [
        {
            "type": "bar", "x": middle, "name": own.name, "opacity": 0.6, "width": 0.025, "marker": {"color": color},
            "y": charts.rounded((np.histogram(own.similarity, edges)[0] / max(1, len(own.similarity))).tolist()),
            "hovertemplate": "%{y:.1%} at about %{x:.2f}<extra></extra>",
        }
        for own, color in zip(draws, (charts.MODEL, "var(--series-2)"), strict=True)
    ]  # fmt: skip
    layout = {
        "barmode": "overlay", "hovermode": "closest", "bargap": 0,
        "xaxis": {"title": {"text": "similarity to the nearest given"}, "range": [0, 1]},
        "yaxis": {"title": {"text": "share of the new molecules"}, "tickformat": ".0%"},
    }  # fmt: skip
    alt = f"How similar new molecules are to the nearest given: {' and '.join(own.name for own in draws)}."
    chart = Chart(figure={"data": traces, "layout": layout}, alt=alt, height=320)
    columns = [Column(title="Draws", numeric=False)]
    columns += [Column(title=text) for text in ("similarity", "new", "given or excluded", "repeated")]
    rows = []
    for own in draws:
        mean = float(np.mean(own.similarity)) if len(own.similarity) else float("nan")
        counts = (len(own.similarity), own.known, own.repeated)
        cells = [Cell(text=f"{n:,} ({percent(n / own.draws)})", sort=n) for n in counts]
        rows.append([Cell(text=own.name), Cell(text=_told(mean), sort=mean if np.isfinite(mean) else None), *cells])
    table = Table(caption="What came of the draws", columns=columns, rows=rows, highlight=0)
    lead = "Molecules that were given or excluded count in no similarity."
    return Section(id="likeness", title="How like them", lead=lead, blocks=[chart, table])


def _told(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else ABSENT
