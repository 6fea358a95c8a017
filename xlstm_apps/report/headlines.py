"""The top of the report: what was done, what came of it in one sentence, and what must not be overlooked."""

from __future__ import annotations

from xlstm_apps.enumeration import listed

from .blocks import Headline, Notice, Tile, Tone
from .forecast_data import Summary
from .numbers import count, duration, percent, significant, span
from .run import Run, number
from .scores import Scores, title


def forecast(run: Run) -> Headline:
    """Headline of a forecasting run."""
    summary, scores = Summary.read(run), Scores.read(run)
    notices = status(run)
    subject = f"Forecast of {summary.name}"
    detail = _task(run, summary, scores)
    if scores is None:
        return not_evaluated(subject, detail, notices)
    verdict, tone = scores.verdict()
    notices += _judgement(scores, tone)
    return Headline(
        subject=subject, verdict=verdict, detail=detail, tone=tone, notices=notices, tiles=_tiles(run, summary, scores)
    )


def generic(run: Run) -> Headline:
    """Headline of a run whose task has none of its own."""
    task, state = run.facts.get("task"), run.facts.get("status")
    verdict = {"finished": "Finished", "running": "Not finished"}.get(str(state), "Status unknown")
    return Headline(subject=f"{task} run" if task else "Run", verdict=f"{verdict}: {run.name}", notices=status(run))


def not_evaluated(subject: str, detail: str, notices: list[Notice]) -> Headline:
    """Headline of a run that has no scores."""
    verdict = "Not evaluated yet: nothing can be said about its accuracy"
    return Headline(subject=subject, verdict=verdict, detail=detail, tone="warning", notices=notices)


def status(run: Run) -> list[Notice]:
    """A notice unless the run says that it finished."""
    if run.finished:
        return []
    state = run.facts.get("status")
    if not run.facts:
        text = "The folder has no run.json that can be read. What is there is shown."
        return [Notice(title="It is not known whether this run finished.", text=text, tone="warning")]
    text = f"Its status is “{state}”. What exists so far is shown."
    if state == "running":
        text = (
            "It was still running, or was stopped, when this was written. What exists so far is shown; the same "
            "command with --resume goes on."
        )
    return [Notice(title="This run is not finished.", text=text, tone="warning")]


def _task(run: Run, summary: Summary, scores: Scores | None) -> str:
    """What was forecast, from what, and what it was scored on."""
    steps, context = number(run.option("head.prediction_length")), number(run.option("head.context_length"))
    parts = []
    if steps is not None:
        reach = span(int(steps), summary.frequency)
        ahead = f"{reach} ahead" if reach else f"{count(steps, 'step')} ahead"
        if reach and not reach.startswith(f"{steps:.0f} "):
            ahead += f" ({count(steps, 'step')})"
        parts.append(ahead)
    if summary.series is not None:
        parts.append(f"for {count(summary.series, 'series', 'series')}")
    if context is not None:
        before = span(int(context), summary.frequency)
        parts.append(f"from the {before or count(context, 'step')} before")
    sentence = " ".join(parts)
    if scores is not None:
        share = number(run.option("data.test_fraction"))
        scored = f"scored on the held-out last {percent(share)}" if share else "scored on the held-out test part"
        windows = summary.windows.get("test")
        if windows:
            scored += f" ({count(windows, 'window')})"
        sentence = f"{sentence}, {scored}" if sentence else scored
    return f"{sentence[:1].upper()}{sentence[1:]}." if sentence else ""


def _judgement(scores: Scores, tone: Tone) -> list[Notice]:
    """A plain warning where the model is behind a baseline in anything that matters."""
    beaten = scores.beaten_by()
    if tone == "bad" and scores.value(scores.ours, "mae") is None:
        return [
            Notice(title="The model has no usable error.", text="Its MAE on the test part is not a number.", tone="bad")
        ]
    if not scores.baselines:
        return []
    if beaten:
        by_model: dict[str, list[str]] = {}
        for name, metric in beaten:
            by_model.setdefault(name, []).append(_against(scores, name, metric))
        text = "; ".join(f"behind {title(name)} in {listed(words)}" for name, words in by_model.items())
        loses = [name for name, metric in beaten if metric == "mae"]
        # Behind in the median is not behind in the quantiles: who needs intervals should know.
        outright = [name for name in loses if (scores.skill("wql", reference=name) or 0) <= 0]
        if outright:
            advice = f"Use {listed([title(name) for name in outright])} rather than this model."
        elif loses:
            advice = f"Its quantiles are better (WQL) than those of {listed([title(name) for name in loses])}."
        else:
            advice = "Look at the comparison before relying on it."
        heading = "The model loses to a baseline." if loses else "The model is not better in everything."
        return [Notice(title=heading, text=f"It is {text}. {advice}", tone="bad" if loses else "warning")]
    if tone == "bad":
        return [
            Notice(
                title="The model is no better than a baseline.",
                text="The simpler method forecasts as well on this data.",
                tone="bad",
            )
        ]
    return []


def _against(scores: Scores, name: str, metric: str) -> str:
    ours, theirs = significant(scores.value(scores.ours, metric)), significant(scores.value(name, metric))
    return f"{title(metric)} ({ours} against {theirs})"


def _tiles(run: Run, summary: Summary, scores: Scores) -> list[Tile]:
    ours, reference = scores.ours, scores.reference
    tiles = [Tile(label="MAE", value=significant(scores.value(ours, "mae")), hint=_beside(scores, "mae"))]
    gain = scores.skill("mae")
    if reference is not None and gain is not None:
        tone: Tone = "good" if gain > 0.005 else "bad"
        sign = "+" if gain > 0 else ""
        tiles.append(
            Tile(
                label="Skill",
                value=f"{sign}{percent(gain)}",
                hint=f"of the MAE of {title(reference)} saved",
                tone=tone,
            )
        )
    if (mase := scores.value(ours, "mase")) is not None:
        tiles.append(Tile(label="MASE", value=significant(mase), hint=_beside(scores, "mase")))
    for wanted, got, before in scores.intervals[-2:]:
        off = abs(got - wanted) > 0.05
        hint = "of the truth inside" + (f"; {percent(before, 1)} before calibration" if before is not None else "")
        label = f"{percent(wanted, 1).replace('.0', '')} interval"
        tiles.append(Tile(label=label, value=percent(got, 1), hint=hint, tone="bad" if off else "plain"))
    if not scores.intervals and (coverage := scores.value(ours, "coverage")) is not None:
        tiles.append(Tile(label="Outermost interval", value=percent(coverage, 1), hint="of the truth inside"))
    return [*tiles, *training_time(run)]


def training_time(run: Run) -> list[Tile]:
    """How long training took, and on what, where that is known."""
    seconds, device = run.facts.get("seconds"), run.facts.get("device")
    fit = number(seconds.get("fit")) if isinstance(seconds, dict) else None
    return [] if fit is None else [Tile(label="Training", value=duration(fit), hint=f"on {device}" if device else "")]


def _beside(scores: Scores, metric: str) -> str:
    theirs = scores.value(scores.reference, metric)
    return f"{title(scores.reference)} {significant(theirs)}" if scores.reference and theirs is not None else ""
