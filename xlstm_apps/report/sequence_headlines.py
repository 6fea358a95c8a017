"""The top of the reports of sequence runs."""

from __future__ import annotations

from xlstm_apps.enumeration import listed

from .blocks import Headline, Notice, Tile, Tone
from .headlines import not_evaluated, status, training_time
from .numbers import count, percent, significant
from .run import Run, number
from .sequence_data import SequenceSummary, leak_notice
from .sequence_scores import Comparison, metric, title, written

_WORDS = {"dna": "DNA", "protein": "Protein", "smiles": "SMILES", "text": "Text"}
_HEADS = {"classification": "classes", "multilabel": "labels", "regression": "numbers"}


def language(run: Run) -> Headline:
    """Headline of a model of the sequences themselves."""
    summary = SequenceSummary.read(run)
    kind = _WORDS.get(summary.alphabet, "Sequence")
    return _headline(run, summary, f"{kind} model of {summary.name}", _language_detail(run, summary))


def prediction(run: Run) -> Headline:
    """Headline of a model that predicts something about sequences."""
    summary = SequenceSummary.read(run)
    return _headline(run, summary, f"Predictions for {summary.name}", _prediction_detail(run, summary))


def _headline(run: Run, summary: SequenceSummary, subject: str, detail: str) -> Headline:
    scores, notices = Comparison.read(run), status(run)
    if scores is None:
        return not_evaluated(subject, detail, notices)
    verdict, tone = scores.verdict()
    tested = scores.tested_on()
    detail = " ".join(filter(None, [detail, f"Tested once, on {tested} held out." if tested else ""]))
    notices += [*judgement(scores, tone), *chance_notice(scores, summary), *leak_notice(summary)]
    return Headline(
        subject=subject, verdict=verdict, detail=detail, tone=tone, notices=notices, tiles=score_tiles(run, scores)
    )


def _language_detail(run: Run, summary: SequenceSummary) -> str:
    unit, context = summary.unit, summary.number("context_length") or number(run.option("data.context_length"))
    seen = summary.number("split", "train", "symbols")
    task = (
        f"Predicts hidden {unit}s from both sides" if summary.masked else f"Predicts each {unit} from those before it"
    )
    parts = [task]
    if context:
        parts.append(f"in windows of {count(context, unit)}")
    if seen:
        parts.append(f"trained on {count(seen, unit)}")
    return f"{', '.join(parts)}."


def _prediction_detail(run: Run, summary: SequenceSummary) -> str:
    task = str(run.option("head.task") or "")
    outputs = number(run.option("head.num_outputs"))
    noun = _HEADS.get(task, "labels")
    classes = summary.classes
    if task == "classification" and 2 <= len(classes) <= 4:
        what = f"Tells {' from '.join(classes)}" if len(classes) == 2 else f"Tells apart {', '.join(classes)}"
    elif task == "regression" and (len(classes) == 1 or outputs == 1):
        what = f"Predicts {classes[0] if len(classes) == 1 else 'a number'}"
    else:
        size = len(classes) or outputs
        what = f"Predicts {f'{size:,.0f} ' if size else ''}{noun}"
    where = f" of every {summary.unit}" if run.option("head.per_symbol") else ""
    seen = summary.number("split", "train", "records")
    start = run.option("from_model")
    parts = [f"{what}{where}"]
    if seen:
        parts.append(f"trained on {count(seen, 'sequence')}")
    parts.append(f"starting from {_model_name(str(start))}" if start else "from scratch")
    return f"{', '.join(parts)}."


def _model_name(path: str) -> str:
    """The run's name, not that of the folder in it that is called `model` in every run."""
    parts = [part for part in path.split("/") if part]
    return parts[-2] if len(parts) > 1 and parts[-1] == "model" else parts[-1] if parts else path


def judgement(scores: Comparison, tone: Tone) -> list[Notice]:
    """A plain warning where the model is behind a baseline, or not clearly ahead."""
    if scores.strongest is None or scores.value(scores.ours, scores.main) is None:
        return []
    beaten = scores.beaten_by()
    if tone == "bad" and beaten:
        words, verb = metric(scores.main), "have" if len(beaten) > 1 else "has"
        pairs = [f"{title(name)} ({scores.written(scores.main, name)})" for name in beaten]
        more = "fewer bits" if scores.main == "bits" else f"a {'higher' if words.higher else 'lower'} {words.title}"
        text = (
            f"{listed(pairs)} {verb} {more} than its {scores.written(scores.main)}. Prefer {title(beaten[0])}, or "
            "train longer, on more data, or from a pre-trained model."
        )
        if "unigram" in beaten:
            text += f" It has learned less than how often each {scores.summary.unit} occurs: the training did not take."
        return [Notice(title="The model loses to a baseline.", text=text, tone="bad")]
    if tone == "bad":
        text = "The simpler method does as well on this data."
        return [Notice(title="The model is no better than a baseline.", text=text, tone="bad")]
    if scores.unclear:
        pairs = [f"{title(name)} ({_span(scores, name)})" for name in (scores.ours, scores.strongest)]
        text = (
            f"By the 95 % intervals of {metric(scores.main).title}, {listed(pairs)} cannot be told apart on these test "
            "records. More of them, or several seeds, would tell."
        )
        return [Notice(title="The difference is within chance.", text=text, tone="warning")]
    return []


def _span(scores: Comparison, name: str) -> str:
    """The interval of a model, or its value where it has none."""
    interval = scores.interval(name, scores.main)
    return " to ".join(written(scores.main, list(interval))) if interval else scores.written(scores.main, name)


def chance_notice(scores: Comparison, summary: SequenceSummary) -> list[Notice]:
    """A warning where always naming the largest class is as often right."""
    accuracy, test = scores.value(scores.ours, "accuracy"), summary.record("labels", "test")
    found = {str(k): number(v) or 0.0 for k, v in test.items()}
    total = sum(found.values())
    if scores.main != "mcc" or accuracy is None or not total:
        return []
    name = max(found, key=lambda key: found[key])
    if accuracy > found[name] / total:
        return []
    text = f"Always saying {name} is right for {percent(found[name] / total, 1)}, the model for {percent(accuracy, 1)}."
    return [Notice(title="No more often right than the largest class.", text=text, tone="bad")]


def score_tiles(run: Run, scores: Comparison) -> list[Tile]:
    ours, tiles = scores.ours, []
    if scores.main == "bits":
        unit, guess = scores.summary.unit, scores.summary.guess
        hint = f"a blind guess costs {guess:.3g}" if guess is not None else ""
        tiles.append(Tile(label=f"Bits per {unit}", value=scores.written("bits"), hint=hint))
        gain, theirs = scores.gain(), scores.value(scores.strongest, "bits")
        if gain is not None and theirs:
            tone: Tone = "good" if gain > 0.001 * theirs else "bad"
            value = f"{'+' if gain > 0 else '−' if gain < 0 else ''}{abs(gain):.3f}"  # noqa: RUF001
            hint = f"bits saved over {title(scores.strongest or '')}"
            tiles.append(Tile(label="Gain", value=value, hint=hint, tone=tone))
        shown = ("perplexity", "accuracy")
    else:
        shown = tuple(
            name for name in ("accuracy", "mcc", "pearson", "auroc", "average_precision", "spearman", "f1", "macro_f1",
                              "r2", "rmse") if name in scores.metrics
        )[:4]  # fmt: skip
    for name in shown:
        if scores.value(ours, name) is not None:
            heading = metric(name).title
            tiles.append(
                Tile(
                    label=f"{heading[:1].upper()}{heading[1:]}", value=scores.written(name), hint=_beside(scores, name)
                )
            )
    if parameters := scores.value(ours, "parameters") or number(run.facts.get("parameters")):
        tiles.append(Tile(label="Parameters", value=_short(parameters)))
    return [*tiles, *training_time(run)]


def _beside(scores: Comparison, name: str) -> str:
    theirs = scores.strongest
    if theirs is None or scores.value(theirs, name) is None:
        return ""
    return f"{title(theirs)}: {scores.written(name, theirs)}"


def _short(number: float) -> str:
    """`184 k`, `1.2 M`."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{significant(number / size)} {letter}"
    return f"{number:,.0f}"
