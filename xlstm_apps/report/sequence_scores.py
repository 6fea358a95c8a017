"""What evaluation/comparison.csv of a sequence run says: every model, the best baseline, and a verdict."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from xlstm_apps.enumeration import listed

from .blocks import Tone
from .numbers import MINUS, column, count, duration, percent, significant
from .run import Run
from .score_table import ScoreTable, rows_of_models
from .sequence_data import SequenceSummary

SAME = 0.001
"""Relative difference of bits below which two models are called the same: 0.002 bits per base."""


@dataclass(frozen=True)
class Metric:
    """How a metric is written and which way is better."""

    title: str
    meaning: str
    higher: bool | None = True
    """None: neither, such as a number of parameters."""
    share: bool = False
    """Shown in percent."""


METRICS = {
    "bits": Metric("bits", "mean information of a symbol, given what stands before it; lower is better", False),
    "perplexity": Metric("perplexity", "2 to the power of bits: equally likely choices left; lower is better", False),
    "nll": Metric("nats", "mean negative log-likelihood of a symbol, natural logarithm; lower is better", False),
    "n": Metric("test records", "records of the test part", None),
    "num_symbols": Metric("symbols", "symbols of the test part that were scored", None),
    "mcc": Metric(
        "MCC", "Matthews correlation: 1 is perfect, 0 no better than chance, whatever the sizes of the classes"
    ),
    "accuracy": Metric("accuracy", "share of predictions that are right", share=True),
    **{
        f"top{k}": Metric(f"top {k}", f"share whose class is among the {k} most probable ones", share=True)
        for k in (2, 3, 5)
    },
    "balanced_accuracy": Metric(
        "balanced accuracy", "mean over the classes of the share that is found, so that small classes count as much",
        share=True,
    ),
    "f1": Metric("F1", "harmonic mean of precision and recall: of the second of two classes, of more the mean"),
    "macro_f1": Metric("macro F1", "F1, the harmonic mean of precision and recall, averaged over the labels"),
    "auroc": Metric("AUROC", "probability that a positive record is ranked above a negative one; 0.5 is chance"),
    "average_precision": Metric("average precision", "area below the precision-recall curve"),
    "log_loss": Metric(
        "log loss", "mean negative log-probability of the truth; sure mistakes cost most; lower is better", False
    ),
    "pearson": Metric("Pearson r", "linear correlation of prediction and truth"),
    "spearman": Metric("Spearman", "correlation of ranks: whether the order is right"),
    "r2": Metric("R²", "share of the variance explained; 0 is the mean of the training part, negative is worse"),
    "mae": Metric("MAE", "mean absolute error, in the target's unit; lower is better", False),
    "rmse": Metric("RMSE", "root of the mean squared error, in the target's unit; lower is better", False),
    "parameters": Metric("parameters", "numbers that were learned", None),
    "seconds": Metric("time", "", None),
}  # fmt: skip
"""In the order of preference within their kind; others are shown under their own name."""

MAIN = ("bits", "mcc", "pearson", "auroc", "macro_f1", "f1", "accuracy", "r2", "spearman", "rmse", "mae", "log_loss")
"""The first of these that the table has decides."""

_TITLES = {
    "xlstm": "xLSTM", "unigram": "symbol frequencies", "uniform": "equal chances", "lstm": "LSTM",
    "transformer": "Transformer", "cnn": "CNN", "majority": "the largest class", 
    "frequencies": "class frequencies", "mean": "the mean", "linear": "linear",
    "logistic": "logistic regression", "resnet": "ResNet", "vit": "ViT", "chance": "chance",
    "xlstm-scratch": "xLSTM from scratch", "xlstm-alone": "xLSTM without linear members",
}  # fmt: skip
_HYPHEN = "\N{NON-BREAKING HYPHEN}"
_MARKOV = re.compile(r"markov[-_ ]?(\d+)")
_KMER = re.compile(r"(?:(\d+)-?mers?|kmers?|k-mers?)(?:[-_ ](\d+))?(?:[-_ ](.*))?")
_ONE_HOT = re.compile(r"(?:one[-_ ]?hot|places?)(?:[-_ ](.*))?")
_FITS = {
    "logistic": "logistic regression", "logistic_regression": "logistic regression", "lr": "logistic regression",
    "ridge": "ridge regression", "linear": "linear regression",
}  # fmt: skip


def title(name: str) -> str:
    """A model's name as people write it."""
    low = name.lower()
    if found := _MARKOV.fullmatch(low):
        return f"Markov order {found[1]}"
    if found := _KMER.fullmatch(low):
        size, fit = found[1] or found[2], found[3] or ""
        words = f"{size or 'k'}{_HYPHEN}mer"
        return f"{words} {_FITS.get(fit, fit.replace('_', ' ').replace('-', ' ')) or 'model'}"
    if found := _ONE_HOT.fullmatch(low):
        fit = found[1] or ""
        return f"one{_HYPHEN}hot {_FITS.get(fit, fit.replace('_', ' ').replace('-', ' ')) or 'model'}"
    return _TITLES.get(low, name.replace("_", " "))


def metric(name: str) -> Metric:
    return METRICS.get(name) or Metric(name.replace("_", " "), "", None)


def written(name: str, values: list[float | None]) -> list[str]:
    """Values of one metric as people read them."""
    known = metric(name)
    if known.share:
        return [percent(v, 1) for v in values]
    if name == "seconds":
        return [duration(v) for v in values]
    if known.higher is None:
        return [significant(v) if v is None else f"{v:,.0f}" if v == round(v) else significant(v) for v in values]
    if name in ("mae", "rmse") or name not in METRICS:
        return column(values)
    return [significant(v) if v is None or not math.isfinite(v) else _three(v) for v in values]


def _three(value: float) -> str:
    text = f"{value:.3f}"
    return "0.000" if text == "-0.000" else text.replace("-", MINUS)


@dataclass(frozen=True)
class Comparison(ScoreTable):
    """evaluation/comparison.csv of models of sequences or images, read."""

    main: str
    """The metric that decides."""
    summary: SequenceSummary

    @classmethod
    def read(cls, run: Run) -> Comparison | None:
        """None while there is none. Ours is the `model` of run.json, else `xlstm`, else the first row."""
        frame = rows_of_models(run)
        if frame is None:
            return None
        main = next((name for name in MAIN if name in frame.columns and frame[name].is_not_null().any()), None)
        if frame.is_empty() or main is None:
            run.absent["evaluation/comparison.csv"] = f"has none of the columns {', '.join(MAIN)}"
            return None
        names = frame["model"].to_list()
        ours = next((name for name in (run.facts.get("model"), "xlstm") if name in names), names[0])
        return cls(frame, ours, main, SequenceSummary.read(run))

    @property
    def metrics(self) -> list[str]:
        """Columns that hold numbers, without the ends of intervals; the deciding one first."""
        names = [n for n in self.frame.columns if n != "model" and not n.endswith(("_lo", "_hi"))]
        names = [n for n in names if any(v is not None for v in self.values(n))]
        return sorted(names, key=lambda n: (n != self.main, [*METRICS].index(n) if n in METRICS else 99))

    def interval(self, model: str, name: str) -> tuple[float, float] | None:
        """95 % interval of a value, where the table has one."""
        low, high = self.value(model, f"{name}_lo"), self.value(model, f"{name}_hi")
        return (low, high) if low is not None and high is not None else None

    def best(self, name: str) -> set[int]:
        """Rows that are best in a metric; none when only one row has a value, or none is better."""
        values, higher = self.values(name), metric(name).higher
        known = [v for v in values if v is not None]
        if len(known) < 2 or higher is None:
            return set()
        best = max(known) if higher else min(known)
        return {i for i, v in enumerate(values) if v == best}

    @property
    def strongest(self) -> str | None:
        """The baseline that is hardest to beat in the deciding metric."""
        sign = 1 if metric(self.main).higher else -1
        known = [(m, self.value(m, self.main)) for m in self.models if m != self.ours]
        ranked = [(sign * v, m) for m, v in known if v is not None]
        return max(ranked, key=lambda item: item[0])[1] if ranked else None

    def gain(self, model: str | None = None, *, over: str | None = None) -> float | None:
        """By how much a model is better than a baseline in the deciding metric; negative when it is worse."""
        mine, theirs = self.value(model or self.ours, self.main), self.value(over or self.strongest, self.main)
        if mine is None or theirs is None or not math.isfinite(mine - theirs):
            return None
        return mine - theirs if metric(self.main).higher else theirs - mine

    def written(self, name: str, model: str | None = None) -> str:
        """A model's value of a metric, with as many decimals as the table gives it."""
        return dict(zip(self.models, written(name, self.values(name)), strict=True))[model or self.ours]

    def verdict(self) -> tuple[str, Tone]:
        """One plain sentence with numbers, and whether it is good news."""
        if self.value(self.ours, self.main) is None:
            return f"{title(self.ours)} has no usable result: its {metric(self.main).title} is not a number", "bad"
        sentence, tone = self._bits() if self.main == "bits" else self._predictions()
        if self.strongest is None:
            return f"{sentence}, with no baseline beside it to judge it by", "warning"
        return sentence, tone

    def _bits(self) -> tuple[str, Tone]:
        theirs, gain = self.value(self.strongest, "bits"), self.gain()
        hidden = "hidden " if self.summary.masked else ""
        sentence = f"{self.written('bits')} bits per {hidden}{self.summary.unit}"
        if self.strongest is None or gain is None or not theirs:
            return sentence, "warning"
        beside = f"{title(self.strongest)} ({self.written('bits', self.strongest)})"
        if gain > SAME * theirs:
            return f"{sentence}, {percent(gain / theirs, 1)} below {beside}", "good"
        if gain < -SAME * theirs:
            return f"{sentence}, {percent(-gain / theirs, 1)} above {beside}: the model loses", "bad"
        return f"{sentence}, no better than {beside}", "bad"

    def _predictions(self) -> tuple[str, Tone]:
        words = metric(self.main)
        sentence = f"{words.title} {self.written(self.main)}"
        if self.main == "mcc" and self.value(self.ours, "accuracy") is not None:
            sentence = f"{self.written('accuracy')} right, {sentence}"
        gain = self.gain()
        if self.strongest is None or gain is None:
            return sentence, "warning"
        beside = f"{title(self.strongest)} ({self.written(self.main, self.strongest)})"
        up, down = ("above", "below") if words.higher else ("below", "above")
        if self.unclear:
            return f"{sentence}, {up if gain >= 0 else down} {beside}, though within chance", "warning"
        if gain == 0:
            return f"{sentence}: no better than {beside}", "bad"
        if gain > 0:
            return f"{sentence}, {up} {beside}", "good"
        return f"{sentence}, {down} {beside}: the model loses", "bad"

    @property
    def unclear(self) -> bool:
        """Whether the strongest baseline lies inside the interval of the model, or the model inside the baseline's."""
        if self.strongest is None:
            return False
        pairs = ((self.ours, self.strongest), (self.strongest, self.ours))
        for model, other in pairs:
            interval, value = self.interval(model, self.main), self.value(other, self.main)
            if interval is not None and value is not None and interval[0] <= value <= interval[1]:
                return True
        return False

    def beaten_by(self) -> list[str]:
        """Baselines that are better in the deciding metric, the best first."""
        found = []
        for name in self.models:
            gain = self.gain(over=name) if name != self.ours else None
            least = SAME * (self.value(name, "bits") or 0.0) if self.main == "bits" else 0.0
            if gain is not None and gain < -least:
                found.append((gain, name))
        return [name for _, name in sorted(found)]

    def tested_on(self) -> str:
        """`45 records` or `463,000 bases` of the test."""
        if scored := self.value(self.ours, "num_symbols"):
            return count(scored, self.summary.unit)
        tested = self.value(self.ours, "n") or self.summary.number("split", "test", "records")
        noun = self.summary.unit if self.summary.run.option("head.per_symbol") else self.summary.part
        return count(tested, noun) if tested else ""

    def titles(self, names: list[str]) -> str:
        return listed([title(name) for name in names])
