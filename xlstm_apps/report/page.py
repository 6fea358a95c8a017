"""Puts a run's sections into one self-contained page, written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from xlstm_apps import __version__

from . import (
    forecast_calibration,
    forecast_data,
    forecast_plots,
    forecast_residuals,
    forecast_scores,
    forecast_series,
    headlines,
    segment_overlays,
    segment_scores,
    sequence_classes,
    sequence_comparison,
    sequence_data,
    sequence_headlines,
    sequence_homologs,
    sequence_language,
    sequence_molecules,
    sequence_predictions,
    shared,
    vision_data,
    vision_headlines,
    vision_pictures,
)
from .blocks import Chart, Headline, Panels, Row, Section
from .charts import compact
from .run import Run

MakeSection = Callable[[Run], Section | None]


@dataclass(frozen=True)
class Task:
    """What a report of one task consists of. A new task is one more entry in `TASKS`."""

    headline: Callable[[Run], Headline]
    sections: tuple[MakeSection, ...]


_ENDING: tuple[MakeSection, ...] = (shared.training,)
_FACTS: tuple[MakeSection, ...] = (shared.configuration, shared.facts)

VISION = Task(
    headline=vision_headlines.classification,
    sections=(
        sequence_comparison.comparison,
        vision_pictures.mistakes,
        vision_pictures.examples,
        sequence_classes.classes,
        sequence_classes.thresholds,
        sequence_classes.calibration,
        *_ENDING,
        vision_data.data,
        *_FACTS,
    ),
)

SEGMENT = Task(
    headline=segment_scores.headline,
    sections=(
        segment_scores.comparison,
        segment_overlays.overlays,
        segment_scores.images,
        segment_scores.classes,
        *_ENDING,
        segment_overlays.data,
        *_FACTS,
    ),
)

TASKS: dict[str, Task] = {
    "forecast": Task(
        headline=headlines.forecast,
        sections=(
            forecast_plots.forecasts,
            forecast_scores.comparison,
            forecast_scores.horizon,
            forecast_series.series,
            forecast_calibration.calibration,
            forecast_residuals.residuals,
            forecast_plots.beyond,
            *_ENDING,
            forecast_data.data,
            *_FACTS,
        ),
    ),
    "sequence": Task(
        headline=sequence_headlines.language,
        sections=(
            sequence_comparison.comparison,
            sequence_homologs.homologs,
            sequence_homologs.sets,
            sequence_molecules.molecules,
            sequence_language.positions,
            sequence_language.symbols,
            sequence_language.records,
            *_ENDING,
            sequence_data.data,
            *_FACTS,
        ),
    ),
    "vision": VISION,
    "vision-finetune": VISION,
    "vision-evaluate": VISION,
    "vision-segment": SEGMENT,
    "vision-segment-evaluate": SEGMENT,
    "sequence-finetune": Task(
        headline=sequence_headlines.prediction,
        sections=(
            sequence_comparison.comparison,
            sequence_classes.classes,
            sequence_classes.thresholds,
            sequence_classes.calibration,
            sequence_predictions.predictions,
            *_ENDING,
            sequence_data.data,
            *_FACTS,
        ),
    ),
}
"""By the run's task."""

OTHER = Task(headline=headlines.generic, sections=(*_ENDING, *_FACTS))
"""For a task that has no entry."""


def write_report(run_dir: str | Path) -> Path:
    """Write `report.html` into a run folder from the files that are there, and return its path.

    The page needs nothing but itself: scripts, styles and data are in it. The same folder gives the same bytes.

    Raises:
        ValueError: `run_dir` is no folder.
        OSError: the page cannot be written; an older one is then still there.
    """
    run = Run(run_dir)
    return write_page(run.path / "report.html", render(run))


def write_page(path: Path, text: str) -> Path:
    """Write a page whole or not at all."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_text(text, encoding="utf-8", errors="replace")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return path


def render(run: Run) -> str:
    """The report as text."""
    task = TASKS.get(run.task, OTHER)
    made = [make(run) for make in task.sections]
    return assemble(task.headline(run), [section for section in made if section is not None], run.absent)


def assemble(headline: Headline, sections: list[Section], absent: dict[str, str] | None = None) -> str:
    """A page of sections as text."""
    return _template().render(
        headline=headline,
        sections=sections,
        absent=absent or {},
        version=__version__,
        style=Markup(_asset("style.css")),
        script=Markup(_asset("report.js")),
        plotly=Markup(get_plotlyjs()) if any(_has_chart(section.blocks) for section in sections) else "",
    )


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_asset),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"data": _embedded, "compact": compact}
    return environment.get_template("page.html.j2")


def _has_chart(blocks: list[Any]) -> bool:
    return any(isinstance(b, Chart | Panels) or (isinstance(b, Row) and _has_chart(b.blocks)) for b in blocks)


def _embedded(value: Any) -> Markup:
    """JSON that is safe inside a script element: nothing in it can close the element or open a comment."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _asset(name: str) -> str:
    return (resources.files(__package__) / "assets" / name).read_text(encoding="utf-8")
