"""The top of the reports of vision runs."""

from __future__ import annotations

from .blocks import Headline, Notice
from .headlines import not_evaluated, status
from .numbers import count, percent
from .run import Run
from .sequence_headlines import chance_notice, judgement, score_tiles
from .sequence_scores import Comparison
from .vision_data import ImageSummary, pixels_of


def classification(run: Run) -> Headline:
    """Headline of a classifier of images."""
    summary = ImageSummary.read(run)
    scores, notices = Comparison.read(run), status(run)
    subject, detail = f"Images of {summary.name}", _detail(run, summary)
    if scores is None:
        return not_evaluated(subject, detail, notices)
    verdict, tone = scores.verdict()
    if run.task == "vision-evaluate":
        tested = f"Looked at {scores.tested_on()}."
    else:
        tested = f"Tested once, on {scores.tested_on()} held out."
        notices += judgement(scores, tone)
    notices += [*chance_notice(scores, summary), *_leaks(summary)]
    return Headline(
        subject=subject,
        verdict=verdict,
        detail=f"{detail} {tested}",
        tone=tone,
        notices=notices,
        tiles=score_tiles(run, scores),
    )


def _detail(run: Run, summary: ImageSummary) -> str:
    classes = summary.classes
    few = 2 <= len(classes) <= 5
    parts = [f"Tells apart {', '.join(classes)}" if few else f"Tells apart {count(len(classes), 'class', 'classes')}"]
    if pixels := pixels_of(run):
        parts.append(f"in images brought to {pixels}")
    if seen := summary.number("split", "train", "records"):
        parts.append(f"trained on {count(seen, 'image')}")
    start = run.option("from_model")
    if run.task != "vision-evaluate":
        parts.append("starting from a trained model" if start else "from scratch")
    return f"{', '.join(parts)}."


def _leaks(summary: ImageSummary) -> list[Notice]:
    if summary.leaked is None or not summary.leaked[0]:
        return []
    copies, checked = summary.leaked
    text = (
        f"{copies:,.0f} of {count(checked, 'test image')} ({percent(copies / checked, 1)}) have the very pixels of a "
        "training image, so the results say less about new ones."
    )
    return [Notice(title="The test is not independent of training.", text=text, tone="warning")]
