"""The README.md of a `model/` folder: what it is, what it was trained on, how good it is, how to load it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import forecast_card, segment_card, sequence_card, vision_card
from .card_parts import Card, plain
from .run import Run

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

CARDS: dict[str, Callable[[Run], Card]] = {
    "sequence": sequence_card.language,
    "sequence-finetune": sequence_card.prediction,
    "vision-segment": segment_card.segmentation,
    "vision": vision_card.classification,
    "vision-finetune": vision_card.classification,
}
"""By the run's task; others have the card of a forecast."""


def model_card(run_dir: str | Path, *, license: str | None = None, intended_use: str | None = None) -> str:
    """Text of the model card of a run, from the files of its folder; what is not there yet is left out.

    Args:
        license: Licence of the weights as an identifier of the Hugging Face hub, such as `apache-2.0`. They were made
            from the user's own data, so none is assumed.
        intended_use: What the model is for, in a sentence or more; a general note without it.

    Raises:
        ValueError: `run_dir` is no folder.
    """
    run = Run(run_dir)
    card = CARDS.get(run.task, forecast_card.card)(run)
    parts = [
        f"# {plain(card.title)}",
        card.about,
        "## Accuracy",
        card.accuracy,
        "## Use",
        card.use,
        "## Trained on",
        "\n".join(f"- {line}" for line in [*card.data, *_run_lines(run)]) or "Not recorded.",
        "## Licence and intended use",
        f"{_licence(license)} {intended_use or card.intended_use}",
    ]
    text = "\n\n".join(parts)
    return f"---\n{_metadata(run, card, license)}\n---\n\n{text}\n"


def _run_lines(run: Run) -> list[str]:
    known = (("Seed", run.facts.get("seed")), ("Device", run.facts.get("device")))
    lines = [f"{words}: {plain(str(value))}" for words, value in known if value is not None]
    if command := run.facts.get("command"):
        lines.append(f"Command: `{plain(str(command))}`")
    return lines


def _licence(license: str | None) -> str:
    if license:
        return f"The weights are under {license}."
    return "No licence was stated for the weights; the library is under Apache-2.0."


def _metadata(run: Run, card: Card, license: str | None) -> str:
    """The YAML head of the card, as the hub reads it."""
    from huggingface_hub import ModelCardData

    facts: dict[str, Any] = {
        "library_name": "xlstm-apps",
        "pipeline_tag": card.pipeline,
        "tags": ["xlstm", *card.tags],
        "license": license,
    }
    results = _results(card)
    if results:
        facts |= {"model_name": run.name, "eval_results": results}
    return ModelCardData(**facts).to_yaml(line_break="\n").strip()


def _results(card: Card) -> list[EvalResult]:
    from huggingface_hub import EvalResult

    task = {
        "task_type": card.pipeline or "other",
        "dataset_type": card.dataset_type,
        "dataset_name": plain(card.dataset),
    }
    return [
        EvalResult(**task, metric_type=metric, metric_name=name, metric_value=float(f"{value:.6g}"))
        for metric, name, value in card.results
        if value is not None and math.isfinite(value)
    ]
