"""docs/forecasting-benchmark.md from the rows of forecasting.csv and of published_forecasts.csv.

Nothing is measured here, and nothing is left out: what the rows do not have, the page calls missing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from forecasting import BASELINES, OURS, SOURCES
from forecasting_rows import DEFAULT, DUET, FAIR, METRICS, NAIVE, OTHERS, RIVALS, Comparison, Number, Results

from xlstm_apps.forecasting import PRESETS

NAMES = {
    "patchtst": "PatchTST", "itransformer": "iTransformer", "nlinear": "NLinear", "dlinear": "DLinear",
    "naive": "last value", "seasonal_naive": "seasonal naive", "naive2": "Naive2", DEFAULT: f"**{DEFAULT}**",
}  # fmt: skip
TRAINED = (*OURS, *BASELINES)
M4 = "M4 Hourly"
NONE = "-"
SEEDS = 3
COVERAGE = {"coverage_80": 80, "coverage_95": 95}
POINTS = 3
"""How far from nominal a coverage may be, in points."""

TOP = """# Forecasting benchmark

Made by `python benchmarks/forecasting.py`, written by `python benchmarks/forecasting.py --render`; the rows are in
[forecasting.csv](../benchmarks/results/forecasting.csv), the published ones in
[published_forecasts.csv](../benchmarks/published_forecasts.csv). The models at work: [forecasting.md](forecasting.md).

## Protocol

- **Split by time.** ETT: 12, 4 and 4 months to train, validate and test; the other tables 70, 10 and 20 % of the rows.
- **Scaled** by mean and deviation of the training part, column by column; errors are in these deviations.
- **Every window of the test part is scored**, one row apart, each target of each column with the same weight; none is
  dropped. The past of the first windows reaches back into the validation part.
- **Nothing is chosen on the test part.** The epoch, and the weights of the ensemble, by the validation error; the
  look-back too, with a linear forecaster, and every model of a cell gets the same one. The design of the default model
  was settled with some of these test parts in view ([which](decisions/0005-forecast-ensemble.md)).
- **One setting for all tables**: each model as `--head.model NAME` trains it, with the same budget and the same loss.
  The baselines trained here are in their usual form; the budget is ours, not their authors'.
- **Intervals** are conformal, from held-out errors, renewed as the truth becomes known
  ([how](decisions/0004-conformal-intervals.md)). Those of models other than `xlstm-ens` were measured before their
  last rule, for few errors, was added; forecasts and their errors do not depend on it.
- **M4 Hourly**: the last 48 values of each series, from what came before; in the data's units; season of 24.

Published rows are quoted, not run here, and say what their protocol was:

- **fair**: run again by the TFB / OpenTS benchmark; no window dropped, look-back searched among 96, 336 and 512 (ILI:
  36 and 104).
- **test windows dropped**: the last windows, often the hardest, were left out.
- **checkpoint chosen on test**: the public code keeps the epoch that is best on the test part.
- **look-back and settings searched**: for every table and horizon by itself.
- **settings per horizon**: network and learning rate differ by table and horizon; one look-back.

A `-` stands for what was not measured, not published, or not recovered from the papers.
"""

READING = f"""Mean over the horizons, MSE / MAE, of `{DEFAULT}`, the default; then how much lower (-) or higher (+) that
is than others. **Bold**: not lower. ≈: the difference is less than its standard deviation over seeds, or than the
rounding of published numbers. 0.398(2) is a mean of 0.398 over seeds with a standard deviation of 0.002; without
brackets it is one run, and one run cannot rank models that lie within 3 %.
"""


def render(rows: list[dict[str, Any]], published: list[dict[str, Any]], path: Path) -> None:
    """Write the page."""
    path.write_text(page(rows, published), encoding="utf-8")


def page(rows: list[dict[str, Any]], published: list[dict[str, Any]]) -> str:
    """The page as text; rows may be missing."""
    data = Comparison(rows, published)
    present = [name for name in SOURCES if any(data.ours.has(name, model) for model in (*TRAINED, *NAIVE))]
    tables = [name for name in present if name != M4]
    parts = [TOP, _machine(rows), _outdated(rows), "## In short\n", READING]
    parts += [_short(data, tables), "### What is not reached\n", _misses(data, tables), _missing(data.ours)]
    for dataset in tables:
        parts += [f"## {dataset}\n", _errors(data, dataset), _details(data.ours, dataset)]
    if M4 in present:
        parts += [f"## {M4}\n", _m4(data.ours)]
    parts.append(_all_models(data.ours, present))
    return "\n".join(part for part in parts if part)


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n" if rows else ""


def _machine(rows: list[dict[str, Any]]) -> str:
    where = sorted({f"{row['device']}, torch {row['torch']}" for row in rows if row.get("device")})
    return (
        f"Measured on: {'; '.join(where)}. Seconds may include other trainings on the same device.\n" if where else ""
    )


def _outdated(rows: list[dict[str, Any]]) -> str:
    """Which models' rows were made with other members than they have today."""
    found = {(row["model"], row["members"]) for row in rows if row.get("members")}
    old = [
        f"**The rows of `{model}` are from before its members changed**: measured with {members.replace('+', ', ')}; "
        f"today it has {', '.join(PRESETS[model].members)}. They are to be made again.\n"
        for model, members in sorted(found)
        if members != "+".join(PRESETS[model].members)
    ]
    return "\n".join(old)


def _percent(number: Number) -> str:
    return f"{100 * number.mean:.1f} %"


# What is compared with what -------------------------------------------------------------------------------------------


def _short(data: Comparison, tables: list[str]) -> str:
    lines = []
    for dataset in tables:
        duels = [data.duels(dataset, None, rival) for rival in RIVALS]
        cells = [" / ".join(d[m].text() if m in d else NONE for m in METRICS) if d else NONE for d in duels]
        lines.append([dataset, _pair(data.ours, dataset, None, DEFAULT), *cells])
    return table(["", DEFAULT, *(rival.label for rival in RIVALS)], lines)


def _misses(data: Comparison, tables: list[str]) -> str:
    lines = []
    for dataset in tables:
        lost, unknown = [], []
        for rival in (*RIVALS, *OTHERS):
            duels = data.duels(dataset, None, rival)
            above = [f"{m.upper()} {d.mine.text()} against {d.other.text()}" for m, d in duels.items() if not d.lower]
            if above:
                lost.append(f"{rival.label} ({', '.join(above)})")
            elif not duels and rival in RIVALS and data.expected(dataset, rival):
                unknown.append(rival.label)
        text = f"- **{dataset}**: " + (
            f"not below {'; '.join(lost)}." if lost else "below all that it was compared with."
        )
        cells = [d for h in SOURCES[dataset].horizons for d in data.duels(dataset, h, DUET).values()]
        if cells:
            text += f" Below DUET in {sum(d.lower for d in cells)} of {len(cells)} cells (horizon and measure)."
        lines.append(text + (f" Not known: {'; '.join(unknown)}." if unknown else ""))
    return "\n".join([*lines, _coverage(data.ours)]) + "\n"


def _coverage(ours: Results) -> str:
    found = {
        f"{dataset} {horizon} ({nominal} %: {_percent(number)})": abs(100 * number.mean - nominal) > POINTS
        for dataset, source in SOURCES.items()
        for horizon in source.horizons
        for name, nominal in COVERAGE.items()
        if (number := ours.at(dataset, horizon, DEFAULT, name))
    }
    wide = [place for place, outside in found.items() if outside]
    head = f"- **Coverage** of `{DEFAULT}`, {POINTS} points around 80 and 95 %: "
    if not found:
        return head + "not measured."
    return head + (f"outside at {'; '.join(wide)}; inside everywhere else." if wide else "inside everywhere.")


def _missing(ours: Results) -> str:
    """What a whole benchmark would have and these rows do not."""
    lines, absent = [], []
    for dataset, source in SOURCES.items():
        few = []
        for model in TRAINED:
            counts = {h: ours.seeds(dataset, h, model) for h in source.horizons}
            if any(counts.values()) and min(counts.values()) < SEEDS:
                each = ", ".join(f"{n} at {h}" for h, n in counts.items() if n < SEEDS)
                few.append(f"{model} ({counts[source.horizons[0]] if len(set(counts.values())) == 1 else each})")
        none = [model for model in TRAINED if not ours.has(dataset, model)]
        if len(none) == len(TRAINED):
            absent.append(dataset)
            continue
        text = f" not measured: {', '.join(none)}." if none else ""
        text += f" Fewer than {SEEDS} seeds: {', '.join(few)}." if few else ""
        if text:
            lines.append(f"- {dataset}:{text}")
    if absent:
        lines.append(f"- Nothing trained on: {', '.join(absent)}.")
    return "### What is missing\n\n" + "\n".join(lines) + "\n" if lines else ""


# The tables -----------------------------------------------------------------------------------------------------------


def _pair(
    results: Results, dataset: str, horizon: int | None, model: str, lowest: tuple[float, ...] = (-1.0, -1.0)
) -> str:
    """`MSE / MAE`, of a horizon or of the mean over them (None); bold what is as low as `lowest`."""
    numbers = [results.at(dataset, horizon, model, m) for m in METRICS]
    texts = [
        NONE if n is None else f"**{n.text()}**" if n.shown <= best else n.text()
        for n, best in zip(numbers, lowest, strict=True)
    ]
    return " / ".join(texts) if any(numbers) else NONE


def _errors(data: Comparison, dataset: str) -> str:
    """Every model at every horizon; bold: the lowest of those measured here or published under a fair protocol."""
    sources = [(data.ours, m, "untrained" if m in NAIVE else "trained here", True) for m in (*TRAINED, *NAIVE)]
    for protocol, results in data.published.items():
        sources += [(results, m, f"published, {protocol}", protocol == FAIR) for m in results.models]
    sources = [source for source in sources if source[0].has(dataset, source[1])]
    horizons = [*SOURCES[dataset].horizons, None]

    def lowest(horizon: int | None) -> tuple[float, ...]:
        known = [[r.at(dataset, horizon, model, m) for r, model, _, counts in sources if counts] for m in METRICS]
        return tuple(min((n.shown for n in numbers if n), default=-1.0) for numbers in known)

    best = {horizon: lowest(horizon) for horizon in horizons}
    lines = [
        [
            NAMES.get(model, model) if results is data.ours else model,
            *(_pair(results, dataset, h, model, *([best[h]] if counts else [])) for h in horizons),
            kind,
        ]
        for results, model, kind, counts in sources
    ]
    return table(["MSE / MAE", *(str(h or "mean") for h in horizons), "protocol"], lines)


def _details(ours: Results, dataset: str) -> str:
    """Look-back, coverage, size and time of the default model, by horizon."""
    horizons = SOURCES[dataset].horizons

    def line(label: str, name: str, text: Callable[[Number], str]) -> list[str]:
        numbers = [ours.at(dataset, h, DEFAULT, name) for h in horizons]
        return [label, *(text(n) if n else NONE for n in numbers)]

    lines = [
        line("look-back chosen", "context", lambda n: f"{n.mean:,.0f}"),
        line("inside the 80 % interval", "coverage_80", _percent),
        line("the same, before calibration", "coverage_80_raw", _percent),
        line("inside the 95 % interval", "coverage_95", _percent),
        line("parameters", "parameters", lambda n: f"{n.mean:,.0f}"),
        line("seconds to train", "fit_seconds", lambda n: f"{n.mean:,.1f}"),
        line("seconds to score", "evaluate_seconds", lambda n: f"{n.mean:,.1f}"),
        ["seeds", *(str(ours.seeds(dataset, h, DEFAULT)) for h in horizons)],
    ]
    return table([DEFAULT, *map(str, horizons)], lines if ours.has(dataset, DEFAULT) else [])


def _m4(ours: Results) -> str:
    lines = []
    (horizon,) = SOURCES[M4].horizons
    for model in (*TRAINED, *NAIVE):
        if ours.has(M4, model):
            errors = [ours.at(M4, horizon, model, name) for name in ("mase", "smape", "owa")]
            shares = [ours.at(M4, horizon, model, name) for name in COVERAGE]
            texts = [n.text() if n else NONE for n in errors] + [_percent(n) if n else NONE for n in shares]
            lines.append(
                [NAMES.get(model, model), *texts, NONE if model in NAIVE else str(ours.seeds(M4, horizon, model))]
            )
    return table([f"{horizon} hours", "MASE", "sMAPE", "OWA", "in 80 %", "in 95 %", "seeds"], lines)


def _all_models(ours: Results, tables: list[str]) -> str:
    """Means over horizons: shares inside the 80 and 95 % intervals, seconds of one training."""
    lines = []
    for model in TRAINED:
        cells = []
        for dataset in tables:
            low, high, seconds = (ours.at(dataset, None, model, name) for name in (*COVERAGE, "fit_seconds"))
            known = low and high and seconds
            cells.append(f"{100 * low.mean:.1f} / {_percent(high)}, {seconds.mean:,.0f} s" if known else NONE)
        if set(cells) != {NONE}:
            lines.append([NAMES.get(model, model), *cells])
    return (
        "## Coverage and time of every model\n\n" + table(["inside 80 / 95 %, one training", *tables], lines)
        if lines
        else ""
    )
