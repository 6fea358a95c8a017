"""The page of what was measured on DNA says what the rows of the benchmarks say."""

import statistics
from pathlib import Path

from written_results import results

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "dna-benchmarks.md").read_text(encoding="utf-8")
NETWORKS = ("xlstm-mlstm", "xlstm-mixed", "transformer")


def tables() -> list[dict[str, list[str]]]:
    """Cells behind the first of each row, table by table."""
    found, inside = [], False
    for line in TEXT.splitlines():
        if line.startswith("|"):
            if not inside:
                found.append({})
            first, *rest = (cell.strip() for cell in line.strip("|").split("|"))
            found[-1][first] = rest
        inside = line.startswith("|")
    return found


def test_speed():
    found = {(row["task"], row["length"], row["network"]): row for row in results("sequence_speed")}
    speed = {key: f"{float(row['tokens_per_second']) / 1e3:,.0f}" for key, row in found.items()}
    for task, shown in zip(("train", "score", "stream"), tables(), strict=False):
        for length in (1024, 8192, 65536, 262144) if task != "stream" else (65536, 262144):
            cells = shown[f"{length:,}"]
            if task == "stream":
                gib = [f"{float(found[task, str(length), name]['peak_mib']) / 1024:.2f} GiB" for name in NETWORKS]
                assert cells == [f"{speed[task, str(length), n]}, {g}" for n, g in zip(NETWORKS, gib, strict=True)]
            else:
                assert cells == [speed[task, str(length), name] for name in NETWORKS]


def test_language_models():
    chosen = [row for row in results("dna_language") if row["test_windows"]]
    wide = "convolutions of 16 bases"
    names = {
        "transformer": "Transformer", "xlstm": "xLSTM, all mLSTM", "xlstm-wide": f"**xLSTM, all mLSTM, {wide}**",
        "xlstm-mixed": "xLSTM, mixed", "xlstm-mixed-wide": f"xLSTM, mixed, {wide}",
    }  # fmt: skip
    for name, first in names.items():
        own = [row for row in chosen if row["network"] == name]
        shown = tables()[3][first]
        assert shown[:2] == [f"{int(own[0]['parameters']):,}", str(len(own))]
        columns = ("val_bits", "test_windows", "test_sliding", "test_carried", "o157_windows_apart")
        means = [statistics.mean(float(row[c]) for row in own) if own[0][c] else None for c in columns]
        assert shown[2:] == ["" if mean is None else f"{mean:.4f}" for mean in means]
    for measure in ("val_bits", "test_windows"):
        bits = {name: [float(r[measure]) for r in chosen if r["network"] == name] for name in (*names, "lstm")}
        ours = bits.pop("xlstm-wide")
        assert max(ours) < min(min(bits["transformer"]), min(bits["lstm"]))


def test_promoters():
    models = {
        "k-mers": "kmers", "bases": "places", "convolutions, m": "cnn", "convolutions, w": "cnn-places",
        "xLSTM": "xlstm-scratch", "**xLSTM": "xlstm",
    }  # fmt: skip
    for first, name in models.items():
        cells = next(cells for key, cells in tables()[4].items() if key.startswith(first))
        for cell, task in zip(cells, ("ecoli", "mouse-tata"), strict=False):
            own = [row for row in results("dna_finetune") if (row["task"], row["network"]) == (task, name)]
            if name not in ("kmers", "places"):  # the rate with all seeds is the one that was chosen
                rate = max({r["learning_rate"] for r in own}, key=[r["learning_rate"] for r in own].count)
                own = [row for row in own if row["learning_rate"] == rate]
            accuracy, mcc = (statistics.mean(float(row[measure]) for row in own) for measure in ("accuracy", "mcc"))
            assert cell.strip("*") == f"{100 * accuracy:.1f} %, {mcc:.3f}"


def test_what_the_readme_says():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = [row for row in results("dna_language") if row["test_windows"]]
    bits = {
        name: statistics.mean(float(r["test_windows"]) for r in found if r["network"] == name)
        for name in ("xlstm-wide", "transformer")
    }
    assert f"**xLSTM {bits['xlstm-wide']:.3f}**, Transformer {bits['transformer']:.3f}," in text
    cells = tables()[4]
    ours = [float(row[0].strip("*").split(", ")[1]) for name, row in cells.items() if "pre-trained" in name]
    others = [float(row[0].split(", ")[1]) for name, row in cells.items() if name.startswith("conv")]
    kmers = cells["k-mers, logistic regression"][0].split(", ")[1]
    assert f"**xLSTM {ours[0]:.3f}**, the better of two CNNs {max(others):.3f}, k-mers {kmers}." in text
