"""What the model cards of sequence runs say: a language model of sequences, and predictions about sequences."""

from __future__ import annotations

from xlstm_apps import __version__
from xlstm_apps.enumeration import first_few

from .card_parts import Card, markdown, plain
from .charts import shorten
from .numbers import count
from .run import Run, number
from .sequence_data import SequenceSummary, leak_notice
from .sequence_scores import Comparison, metric, title, written

_SCORING = """\
In a shell, with this folder as `model`:

```sh
{commands}
```

From Python:

```python
from xlstm_apps.biosequence import SequenceModel

model = SequenceModel.from_pretrained("model")
print(model.score("{example}"))  # -log p of every symbol, in nats
print(model.embed("{example}", pooling="mean"))
```"""
_SCORE = "xlstm-apps sequence score model --data.path new.fa --output scores.tsv"
_EMBED = "xlstm-apps sequence embed model --data.path new.fa --output features.parquet"
_GENERATE = "xlstm-apps sequence generate model --num_sequences 10 --output made_up.fa"
_EXAMPLES = {"dna": "ACGTTGCA", "protein": "MKTAYIAK", "smiles": "CCO"}

PREDICTING = """\
In a shell, with this folder as `model`:

```sh
xlstm-apps sequence predict model --data.path new.fa --output predictions.tsv
```

From Python:

```python
from xlstm_apps.datasets.sequences import SequenceSource
from xlstm_apps.recipes import sequence

sequence.predict("model", SequenceSource(path=["new.fa"]), output="predictions.tsv")
```"""

_TASKS = {"classification": "one of several classes", "multilabel": "several labels", "regression": "numbers"}
_SHOWN = (
    "bits", "perplexity", "accuracy", "mcc", "f1", "macro_f1", "auroc", "average_precision", "pearson", "spearman",
    "r2", "rmse",
)  # fmt: skip


def language(run: Run) -> Card:
    """The card of a model trained on the sequences themselves."""
    summary = SequenceSummary.read(run)
    reads = (
        "It predicts hidden symbols from both sides" if summary.masked else "It predicts each symbol from those before"
    )
    return _card(
        run,
        summary,
        title=f"xLSTM of {summary.name}",
        about=f"{reads} in sequences of {_kind(summary)}.",
        use=_scoring(summary),
        intended_use="For scores, features and further training on sequences like those it was trained on. A low "
        "probability means that a sequence is unlike them, not that it is harmful or does not work.",
        pipeline="fill-mask" if summary.masked else "text-generation",
    )


def prediction(run: Run) -> Card:
    """The card of a model that predicts something about sequences."""
    summary = SequenceSummary.read(run)
    task = str(run.option("head.task") or "")
    what = _TASKS.get(task, "labels")
    if classes := [plain(shorten(name, 40)) for name in summary.classes]:
        what = f"{what} ({first_few(classes, 10)})"
    each = "each symbol of a sequence" if run.option("head.per_symbol") else "a sequence"
    return _card(
        run,
        summary,
        title=f"xLSTM predictions for {summary.name}",
        about=f"It predicts {what} of {each} of {_kind(summary)}.",
        use=PREDICTING,
        intended_use="For sequences drawn as those it was trained on; where their make-up or the share of the classes "
        "differs, check it again before relying on it. Not for decisions about patients.",
        pipeline="text-classification",
    )


def _card(
    run: Run, summary: SequenceSummary, *, title: str, about: str, use: str, intended_use: str, pipeline: str
) -> Card:
    scores = Comparison.read(run)
    words = [f"An xLSTM model made by xlstm-apps {__version__}.", about]
    if context := summary.number("context_length"):
        words.append(f"It was trained on windows of {count(context, summary.unit)}.")
    if parameters := number(run.facts.get("parameters")):
        words.append(f"It has {count(parameters, 'parameter')}.")
    return Card(
        title=title,
        about=" ".join(words),
        accuracy=accuracy_text(summary, scores),
        use=use,
        data=_data(summary),
        intended_use=intended_use,
        pipeline=pipeline,
        tags=tuple(filter(None, ("biology" if summary.alphabet in ("dna", "protein") else "", summary.alphabet))),
        dataset_type="sequences",
        dataset=summary.name,
        results=card_results(scores),
    )


def accuracy_text(summary: SequenceSummary, scores: Comparison | None) -> str:
    if scores is None:
        return "Not evaluated."
    sentence, tone = scores.verdict()
    tested = scores.tested_on()
    where = "On the held-out test part" + (f" ({tested})" if tested else "")
    parts = [f"{where}: {sentence}."]
    if tone == "bad":
        parts.append("**A simpler method does as well or better on this data; prefer it.**")
    parts += [f"**{notice.title}** {notice.text}" for notice in leak_notice(summary)]
    metrics = [name for name in scores.metrics if name in _SHOWN]
    texts = {name: written(name, scores.values(name)) for name in metrics}
    rows = [
        [plain(title(model)), *(_cell(texts[name][i], i in scores.best(name)) for name in metrics)]
        for i, model in enumerate(scores.models)
    ]
    parts.append(markdown(["model", *(metric(name).title for name in metrics)], rows))
    return "\n\n".join(parts)


def _cell(text: str, best: bool) -> str:
    return f"**{text}**" if best else text


def _data(summary: SequenceSummary) -> list[str]:
    lines = []
    if summary.sources:
        names = [f"`{plain(source.rpartition('/')[2])}`" for source in summary.sources]
        lines.append(f"Sequences: {first_few(names, 5)}")
    kept, symbols = summary.number("quality", "kept"), summary.number("quality", "symbols")
    if kept and symbols:
        lines.append(f"{count(kept, 'record')} with {count(symbols, summary.unit)}")
    if isinstance(rule := summary.record("split").get("rule"), str):
        sizes = [(part, summary.number("split", part, "symbols")) for part in ("train", "val", "test")]
        shares = ", ".join(f"{part} {count(size, summary.unit)}" for part, size in sizes if size)
        lines.append(f"Split by {plain(rule)}" + (f": {shares}" if shares else ""))
    if summary.leaked is not None:
        copies, checked = summary.leaked
        lines.append(f"{copies:,.0f} of {checked:,.0f} test windows have a near copy in the training part")
    return lines


def _scoring(summary: SequenceSummary) -> str:
    commands = [_SCORE, _EMBED] if summary.masked else [_SCORE, _EMBED, _GENERATE]
    return _SCORING.format(commands="\n".join(commands), example=_EXAMPLES.get(summary.alphabet, "a text"))


def _kind(summary: SequenceSummary) -> str:
    return {"dna": "DNA", "protein": "amino acids", "smiles": "SMILES", "text": "text"}.get(summary.alphabet, "symbols")


def card_results(scores: Comparison | None) -> list[tuple[str, str, float | None]]:
    if scores is None:
        return []
    shown = [name for name in scores.metrics if name in _SHOWN]
    return [(name, metric(name).title, scores.value(scores.ours, name)) for name in shown]
