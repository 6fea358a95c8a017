"""`sequence finetune` and `predict` from labels in files to a run folder and a table of predictions."""

import csv
import json
import random

import polars as pl
import pytest
import torch

from xlstm_apps import cli
from xlstm_apps.biosequence import PredictorModule
from xlstm_apps.estimators import SequenceClassifier
from xlstm_apps.estimators.sequence_saved import load_sequence_model

QUICK = ["--backbone.embedding_dim", "16", "--backbone.num_blocks", "1", "--fit.max_epochs", "2"]
QUICK += ["--fit.accelerator", "cpu", "--fit.steps_per_epoch", "4"]


def bases(share: float, length: int, draw: random.Random) -> str:
    return "".join(draw.choices("ACGT", [share, 1 - share, 1 - share, share], k=length))


@pytest.fixture(scope="module")
def fastas(tmp_path_factory):
    """Two classes, one per file."""
    folder, draw = tmp_path_factory.mktemp("fasta"), random.Random(0)
    for name, share in (("rich", 0.8), ("poor", 0.2)):
        records = [f">{name}_{n}\n{bases(share, draw.randint(12, 20), draw)}\n" for n in range(30)]
        (folder / f"{name}.fa").write_text("".join(records))
    return folder


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Numbers, labels and classes of symbols in one table."""
    file, draw = tmp_path_factory.mktemp("table") / "all.csv", random.Random(1)
    rows = ["id,sequence,share,with_a,with_c,paired,part"]
    for n in range(40):
        text = bases(draw.random(), 12, draw)
        paired = "".join("y" if base in "GC" else "n" for base in text)
        part = "test" if n % 5 == 0 else "val" if n % 5 == 1 else "train"
        share = "" if n == 7 else f"{100 * text.count('A') / 12:.1f}"
        rows.append(f"n{n},{text},{share},{int('AA' in text)},{int('CC' in text)},{paired},{part}")
    file.write_text("\n".join(rows) + "\n")
    return file


def rows_of(path, separator=","):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter=separator))


@pytest.fixture(scope="module")
def classes(fastas, tmp_path_factory):
    """A run on two classes."""
    run = tmp_path_factory.mktemp("runs") / "classes"
    data = ["--data.path", f"{fastas / 'rich.fa'},{fastas / 'poor.fa'}"]
    assert not cli.run(["sequence", "finetune", *data, *QUICK, "--run_dir", str(run)])
    return run


def test_what_a_run_leaves(classes):
    facts = json.loads((classes / "run.json").read_text())
    assert facts["task"] == "sequence-finetune" and facts["status"] == "finished"
    assert facts["resolved"]["head"]["names"] == ["poor", "rich"]
    rows = {row["model"]: row for row in rows_of(classes / "evaluation" / "comparison.csv")}
    assert set(rows) >= {"xlstm", "xlstm-alone", "cnn", "frequencies"} and any("mer-logistic" in name for name in rows)
    assert sorted(facts["weights"]) == sorted(["network", *(name for name in rows if "mer-logistic" in name)])
    for name in ("n", "accuracy", "balanced_accuracy", "mcc", "f1", "auroc", "average_precision", "log_loss"):
        assert rows["xlstm"][name] != ""
    assert 0.5 < int(rows["cnn"]["parameters"]) / int(rows["xlstm-alone"]["parameters"]) < 2
    summary = json.loads((classes / "data_summary.json").read_text())
    assert summary["labels"]["classes"] == ["poor", "rich"] and sum(summary["labels"]["train"].values()) == 48
    said = rows_of(classes / "evaluation" / "predictions.csv")
    assert len(said) == 6 and set(said[0]) == {"id", "label", "predicted", "p_poor", "p_rich"}
    assert all(row["id"].startswith(row["label"]) for row in said)
    counts = rows_of(classes / "evaluation" / "confusion.csv")
    assert sum(int(row["count"]) for row in counts) == 6
    for name in ("classes", "calibration", "thresholds"):
        assert rows_of(classes / "evaluation" / f"{name}.csv")
    assert (classes / "report.html").stat().st_size > 10_000 and (classes / "model" / "README.md").is_file()


def test_new_sequences_are_predicted(classes, tmp_path, capsys):
    new = tmp_path / "new.fa"
    new.write_text(">one\nAATTATATTA\n>two\nGGCGCGCCnGGC\n>three\nA\n")
    out = tmp_path / "out.tsv"
    assert not cli.run(["sequence", "predict", str(classes), "--data.path", str(new), "--output", str(out)])
    rows = rows_of(out, "\t")
    assert [row["id"] for row in rows] == ["one", "two", "three"] and [row["length"] for row in rows] == [
        "10",
        "12",
        "1",
    ]
    for row in rows:
        p = {name: float(row[f"p_{name}"]) for name in ("poor", "rich")}
        assert sum(p.values()) == pytest.approx(1, abs=1e-5) and row["predicted"] == max(p, key=p.get)
    parquet = tmp_path / "out.parquet"
    cli.run(["sequence", "predict", str(classes / "model"), "--data.path", str(new), "--output", str(parquet)])
    assert pl.read_parquet(parquet)["p_rich"].to_list() == pytest.approx([float(r["p_rich"]) for r in rows], abs=1e-6)
    again = load_sequence_model(classes)
    with pytest.raises(ValueError, match="does not exist"):
        cli.run(
            ["sequence", "predict", str(classes), "--data.path", str(new), "--output", str(tmp_path / "no" / "x.tsv")]
        )
    language = tmp_path / "language"
    again.model.save_pretrained(language)
    with pytest.raises(ValueError, match="sequence finetune"):
        cli.run(["sequence", "predict", str(language), "--data.path", str(new)])


def test_an_estimator_goes_on_from_a_run_and_is_used_by_predict(classes, tmp_path, capsys):
    texts, y = ["AATTATAT", "GGCGCGCC"] * 8, ["a", "b"] * 8
    fitted = SequenceClassifier(from_model=classes, head_only=True, max_epochs=1, accelerator="cpu").fit(texts, y)
    fitted.save(tmp_path / "saved")
    (tmp_path / "x.fa").write_text(">x\nAATTATAT\n")
    capsys.readouterr()
    cli.run(["sequence", "predict", str(tmp_path / "saved"), "--data.path", str(tmp_path / "x.fa")])
    row = dict(zip(*(line.split("\t") for line in capsys.readouterr().out.splitlines()), strict=True))
    assert float(row["p_a"]) == pytest.approx(fitted.predict_proba(["AATTATAT"])[0, 0], abs=1e-5)


def test_numbers_labels_and_symbols(table, tmp_path, capsys):
    def run(name, *options):
        cli.run(
            ["sequence", "finetune", "--data.path", str(table), *options, *QUICK, "--run_dir", str(tmp_path / name)]
        )
        return tmp_path / name / "evaluation"

    numbers = run("numbers", "--data.label_columns", "share")
    rows = rows_of(numbers / "comparison.csv")
    assert rows[-1]["model"] == "mean" and float(rows[-1]["pearson"]) == 0
    assert {"pearson", "spearman", "r2", "mae", "rmse", "pearson_lo"} <= set(rows[0])
    assert {row["model"] for row in rows} >= {"cnn", "place-ridge"}  # all of one length
    assert list(rows_of(numbers / "predictions.csv")[0]) == ["id", "target", "predicted"]
    assert 0 < float(rows_of(numbers / "predictions.csv")[0]["predicted"]) < 100  # in its own unit
    notes = json.loads((tmp_path / "numbers" / "data_summary.json").read_text())["notes"]
    assert any("1 of 24 records have no label" in note for note in notes)
    labels = run("labels", "--data.label_columns", "with_a,with_c", "--baselines", "false")
    assert [row["class"] for row in rows_of(labels / "classes.csv")] == ["with_a", "with_c"]
    assert {row["model"] for row in rows_of(labels / "comparison.csv")} == {"xlstm", "frequencies"}
    symbols = run("symbols", "--data.label_columns", "paired", "--head.per_symbol", "true", "--baselines", "false")
    assert int(rows_of(symbols / "comparison.csv")[0]["n"]) == 8 * 12
    first = rows_of(symbols / "symbols_predicted.csv")[0]
    assert first["position"] == "1" and first["label"] == ("y" if first["symbol"] in "GC" else "n")
    capsys.readouterr()
    cli.run(["sequence", "predict", str(tmp_path / "symbols"), "--data.path", str(table)])
    assert len(capsys.readouterr().out.splitlines()) == 40 * 12 + 1


def test_a_broken_run_goes_on_to_the_same_model(classes, fastas, tmp_path, monkeypatch):
    run, left = tmp_path / "again", {"steps": 3}
    data = ["--data.path", f"{fastas / 'rich.fa'},{fastas / 'poor.fa'}", "--fit.checkpoint_seconds", "0"]
    argv = ["sequence", "finetune", *data, *QUICK, "--baselines", "false", "--run_dir", str(run)]

    class Stop(BaseException):
        """As hard as a kill: nothing catches it, so no checkpoint is saved on the way out."""

    step = PredictorModule.training_step

    def limited(self, batch, batch_idx):
        if left["steps"] == 0:
            raise Stop
        left["steps"] -= 1
        return step(self, batch, batch_idx)

    monkeypatch.setattr(PredictorModule, "training_step", limited)
    with pytest.raises(Stop):
        cli.run(argv)
    monkeypatch.setattr(PredictorModule, "training_step", step)
    with pytest.raises(ValueError, match="seed"):
        cli.run([*argv, "--resume", "--seed", "5"])
    cli.run([*argv, "--resume"])
    one, other = (load_sequence_model(folder).state_dict() for folder in (classes, run))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_mistakes_are_told_before_a_folder_is_made(fastas, table, tmp_path):
    run = ["--run_dir", str(tmp_path / "run"), *QUICK]
    one, two = str(fastas / "rich.fa"), str(fastas / "poor.fa")
    for options, message in (
        (["--data.path", one], "there are no labels"),
        (["--data.path", str(table)], "there are no labels|label"),
        (["--data.path", f"{one},{two}", "--head.task", "regression"], "'rich' is no number"),
        (["--data.path", f"{one},{two}", "--head.num_outputs", "3"], "num_outputs is 3"),
        (["--data.path", f"{one},{two}", "--head.names", "rich,other"], "'poor' is none of head.names"),
        (["--data.path", f"{one},{two}", "--head_only"], "never trained"),
        (["--data.path", f"{one},{two}", "--data.split", "stretch"], "each has a label"),
        (["--data.path", f"{one},{two}", "--head.per_symbol", "true"], "4 labels for"),
        (["--data.path", str(table), "--data.label_columns", "share", "--balanced"], "weights of classes"),
    ):
        with pytest.raises(ValueError, match=message):
            cli.run(["sequence", "finetune", *options, *run])
        assert not (tmp_path / "run").exists() and not list(tmp_path.iterdir())
