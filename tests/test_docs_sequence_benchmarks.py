"""The page of what was measured on proteins says what the rows of the benchmarks say."""

import re
import statistics
from pathlib import Path

from written_results import results

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "sequence-benchmarks.md").read_text(encoding="utf-8")


def table(heading: str) -> dict[str, list[str]]:
    """Cells behind the first word of each row of the first table below a heading."""
    below = TEXT.partition(f"## {heading}\n")[2]
    lines = re.search(r"^\|.*?(?=\n\n|\n?\Z)", below, flags=re.DOTALL | re.MULTILINE)
    assert lines, f"no table below {heading}"
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[0].splitlines()[2:]]
    return {first.split()[0]: rest for first, *rest in cells}


def test_language_models():
    found, shown = results("protein_language"), table("Language models")
    tests = {}
    for name, cells in shown.items():
        name = name.strip("*")
        own = [row for row in found if row["network"] == name and row["test_pieces"] and row["size"] in ("2m", "")]
        texts = [f"{int(own[0]['parameters']):,}", str(len(own)) if len(own) > 1 else ""]
        for column in ("val_perplexity", "test_pieces", "test_whole"):
            values = [float(row[column]) for row in own if row[column]]
            texts.append(spread(values, 3) if len(values) > 1 else f"{values[0]:.3f}" if values else "")
        assert cells == texts
        tests[name] = [float(row["test_pieces"]) for row in own]
    assert tests.keys() == {row["network"] for row in found}
    ours = tests.pop("xlstm")
    assert max(ours) < min(map(min, tests.values()))
    small = {row["network"]: float(row["test_pieces"]) for row in found if row["size"] == "65k"}
    told = "the LSTM has {lstm:.2f},\n**the xLSTM {xlstm:.2f}**, the Transformer {transformer:.2f}.".format(**small)
    assert told in TEXT


def test_secondary_structure():
    found = {
        row["network"]: row
        for row in results("protein_finetune")
        if row["task"] == "structure" and row["learning_rate"] == "0.005"
    }
    shown = table("Secondary structure")
    assert shown.keys() == found.keys()
    for name, cells in shown.items():
        row = found[name]
        assert cells == [
            f"{int(row['parameters']):,}", f"{float(row['val_loss']):.4f}", f"{100 * float(row['accuracy']):.1f} %",
            f"{float(row['mcc']):.3f}",
        ]  # fmt: skip
    assert max(found, key=lambda name: float(found[name]["accuracy"])) == "xlstm"


def spread(values: list[float], digits: int, unit: str = "") -> str:
    return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}{unit}"


def trained(name: str, own: list[dict[str, str]]) -> list[str]:
    """Cells of a model: the network by itself, or `joined` with the k-mers, whose weights count too."""
    joined = name == "joined"
    weights = int(own[0]["parameters"])
    if joined:
        weights += next(int(row["parameters"]) for row in results("protein_finetune") if row["network"] == "kmers")
    cells = [f"{weights:,}", str(len(own))]
    for field, scale, digits, unit in (("accuracy", 100, 1, " %"), ("mcc", 1, 3, "")):
        cells.append(spread([scale * float(row["joined_" * joined + field]) for row in own], digits, unit))
    return cells


def test_more_training():
    """The rows made on a GPU, of the learning rate with the lowest loss at seed 0."""
    found = results("protein_finetune")
    for task, steps, first, names in (
        ("structure", "1500", "network", ["xlstm", "cnn"]), ("location", "600", "model", ["joined", "xlstm", "cnn"])
    ):  # fmt: skip
        lines = TEXT.partition(f"| {first}, longer |")[2].partition("\n\n")[0].splitlines()[2:]
        shown = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        assert [name for name, *_ in shown] == names
        for name, *cells in shown:
            network = "xlstm" if name == "joined" else name
            own = [r for r in found if (r["task"], r["network"], r["steps"]) == (task, network, steps)]
            best = min((row for row in own if row["seed"] == "0"), key=lambda row: float(row["val_loss"]))
            assert cells == trained(name, [row for row in own if row["learning_rate"] == best["learning_rate"]])


def located() -> list[dict[str, str]]:
    """Rows of localisation but those of the longer training."""
    return [row for row in results("protein_finetune") if row["task"] == "location" and row["steps"] != "600"]


def test_localisation():
    for name, cells in table("Localisation").items():
        network = "xlstm" if name == "joined" else name
        assert cells == trained(name, [row for row in located() if row["network"] == network])
    found = {row["seed"]: row for row in located() if row["network"] == "xlstm"}
    beside = {row["seed"]: row for row in results("protein_finetune") if row["network"] == "kmers"}
    gains = [
        [float(row[f"joined_{name}"]) - float(beside[seed][name]) for seed, row in found.items()]
        for name in ("accuracy", "mcc")
    ]
    assert (
        f"{100 * statistics.mean(gains[0]):.1f} points of accuracy and {statistics.mean(gains[1]):.3f} of MCC" in TEXT
    )
    assert sum(gain > 0 for gain in gains[0]) == sum(gain > 0 for gain in gains[1]) == 3


def test_families():
    found = {
        (row["family"], row["control"], row["homologs"]): f"{float(row['perplexity']):.2f}"
        for row in results("protein_families")
        if row["measure"] == "in-context"
    }
    kinds = [(family, control) for family in ("uniprot", "relatives") for control in ("real", "shuffled")]
    shown = table("Families")
    assert {count for *_, count in found} == shown.keys()
    for count, cells in shown.items():
        assert cells == [found.get((*kind, count), "-") for kind in kinds]
    fitness = [float(row["spearman"]) for row in results("protein_families") if row["measure"] == "fitness"]
    assert "{:.3f} without context,\n{:.3f} behind eight other mutants".format(*fitness) in TEXT


def test_time_that_a_context_saves():
    found = {row["control"].split()[0]: row for row in results("protein_families") if row["measure"] == "seconds"}
    shown = table("Time that a context saves")
    assert shown.keys() == found.keys() == {"context", "all"}
    for name, cells in shown.items():
        total, count = float(found[name]["seconds"]), int(found[name]["targets"])
        assert cells == [f"{total:.1f}", f"{1000 * total / count:.1f} ms"]


def test_the_first_page():
    readme = (ROOT / "README.md").read_text(encoding="utf-8").replace("\n", " ")
    shown = {name.strip("*"): float(cells[3].split()[0]) for name, cells in table("Language models").items()}
    told = "**xLSTM {xlstm:.2f}**, LSTM {lstm:.2f}, Transformer {transformer:.2f}, counts to order 5 {markov-5:.2f};"
    assert told.format(**shown) in readme
    alone, behind = (float(table("Families")[count][0]) for count in ("0", "1"))
    assert f"{behind:.1f} instead of {alone:.1f}" in readme
