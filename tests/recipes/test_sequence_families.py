"""`sequence train` on families of proteins: from files to the curve of homologs, resumed, and what it refuses."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from xlstm_apps import cli
from xlstm_apps.biosequence import SequenceConfig, SequenceModel, SequenceModule
from xlstm_apps.core import xLSTMConfig
from xlstm_apps.datasets.sequences import SequenceData
from xlstm_apps.recipes import sequence
from xlstm_apps.training import FitConfig

LETTERS = list("LAGVSERTIDPKQNFYMHWC")
BACKBONE = xLSTMConfig(embedding_dim=16, num_blocks=1, num_heads=2, rotary_base=100.0)
FIT = FitConfig(max_epochs=2, steps_per_epoch=2, batch_size=4, checkpoint_seconds=0)


@pytest.fixture
def folder(tmp_path):
    """Twelve families of six, a file each."""
    rng = np.random.default_rng(0)
    (tmp_path / "families").mkdir()
    for f in range(12):
        first = rng.choice(LETTERS, 14)
        members = [np.where(rng.random(14) < 0.3, rng.choice(LETTERS, 14), first) for _ in range(6)]
        text = "".join(f">f{f}_{n}\n{''.join(member)}\n" for n, member in enumerate(members))
        (tmp_path / "families" / f"f{f}.fa").write_text(text)
    return tmp_path / "families"


def train(path, run_dir, *, sections=None, **options):
    data = {"context_length": 64, "families": "file", **options.pop("data", {})}
    config = SequenceConfig(**{"alphabet": "protein", "infill_spans": 1.0, **(sections or {})})
    settings = {"backbone": BACKBONE, "fit": FIT, **options}
    sequence.train(SequenceData(path=[str(path)], **data), config, run_dir=str(run_dir), **settings)


def rows(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_a_run_on_families_leaves_the_curve_of_homologs(folder, tmp_path, capsys):
    train(folder, tmp_path / "run")
    shown = capsys.readouterr()
    assert "10 families of 6 to 6 training sequences" in shown.err and "homologs shown" in shown.out
    facts = json.loads((tmp_path / "run" / "data_summary.json").read_text())
    assert facts["split"]["rule"] == "group" and facts["split"]["test"]["records"] == 6
    curve = rows(tmp_path / "run" / "evaluation" / "homologs.csv")
    assert [(row["homologs"], row["control"]) for row in curve] == [
        (count, control) for count in ("0", "1", "2") for control in ("real", "shuffled")
    ]
    assert {row["targets"] for row in curve} == {"6"} and {row["symbols"] for row in curve} == {str(6 * 14)}
    assert curve[0]["bits"] == curve[1]["bits"] and len({row["bits"] for row in curve}) == 5
    comparison = rows(tmp_path / "run" / "evaluation" / "comparison.csv")
    assert float(comparison[0]["bits"]) == pytest.approx(float(curve[0]["bits"]), rel=1e-5)
    model = SequenceModel.from_pretrained(tmp_path / "run" / "model")
    assert model.sequence.infills and (tmp_path / "run" / "report.html").is_file()


def test_a_killed_run_on_families_is_resumed_to_the_same_weights(folder, tmp_path, power_cut):
    train(folder, tmp_path / "whole")
    with power_cut(SequenceModule, step=4):
        train(folder, tmp_path / "broken")
    train(folder, tmp_path / "broken", resume=True)
    whole, again = (
        SequenceModel.from_pretrained(tmp_path / name / "model").state_dict() for name in ("whole", "broken")
    )
    assert all((whole[name] == again[name]).all() for name in whole)
    curves = [(tmp_path / name / "evaluation" / "homologs.csv").read_bytes() for name in ("whole", "broken")]
    assert curves[0] == curves[1]


def test_proteins_without_relatives_have_no_curve(tmp_path, capsys):
    rng = np.random.default_rng(0)
    text = "".join(f">p{n} group={n}\n{''.join(rng.choice(LETTERS, 20))}\n" for n in range(30))
    (tmp_path / "p.fa").write_text(text)
    train(tmp_path / "p.fa", tmp_path / "run", data={"families": "group"}, sections={"infill_spans": 0.0})
    assert "no protein of the test has relatives" in capsys.readouterr().err
    assert not (tmp_path / "run" / "evaluation" / "homologs.csv").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sections": {"end_token": False}}, "data.families is for causal models of proteins"),
        (
            {"sections": {"infill_spans": 0.0, "infill_most": 3}},
            "infill_most does nothing without sequence.infill_spans",
        ),
        ({"data": {"families": "group"}}, "needs records with groups"),
        ({"data": {"context_length": 1}}, "must be 1 or more"),
        ({"data": {"stride": 64}}, "leaves symbols between windows of 63 out"),
        ({"baselines": ["lstm"], "backbone": replace(BACKBONE, num_heads=4)}, "no lstm of 1 blocks has"),
    ],
)
def test_mistakes_leave_no_folder(folder, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        train(folder, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_predictions_have_no_families(folder, tmp_path):
    with pytest.raises(ValueError, match=r"data\.families is for `sequence train`"):
        sequence.finetune(SequenceData(path=[str(folder)], families="file"), run_dir=str(tmp_path / "run"))


@pytest.mark.parametrize("name", ["ww-domains", "prot-26m"])
def test_shipped_recipes_train_two_steps(name, folder, tmp_path):
    flags = ["--fit.max_steps=2", "--fit.steps_per_epoch=2", "--backbone.embedding_dim=16", "--backbone.num_blocks=1"]
    flags += ["--data.path", str(folder), "--data.context_length=64", "--run_dir", str(tmp_path / "run")]
    cli.run(["sequence", "train", "--config", f"sequence/{name}", *flags, "--fit.precision=32-true"])
    assert SequenceModel.from_pretrained(tmp_path / "run" / "model").config.rotary_base == 500_000
