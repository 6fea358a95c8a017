"""`vision train`, `finetune`, `evaluate` and `predict`: from folders of pictures to a run folder and tables."""

import csv
import json

import numpy as np
import polars as pl
import pytest
from PIL import Image

from xlstm_apps import cli
from xlstm_apps.estimators import vision_baselines

QUICK = ["--network.embedding_dim", "16", "--network.num_blocks", "1", "--network.num_heads", "2"]
QUICK += ["--network.patch_size", "4", "--fit.max_epochs", "2", "--fit.accelerator", "cpu"]


def stripes(seed: int, upright: bool, size=12) -> Image.Image:
    """Stripes of some colour, along the rows or the columns."""
    draw = np.random.default_rng(seed)
    wave = np.sin(np.arange(size)[:, None] * 2 + draw.uniform(0, 6)) * 100 + 128 + draw.normal(0, 10, (size, size))
    wave = wave.T if upright else wave
    return Image.fromarray((wave[..., None] * draw.uniform(0.5, 1, 3)).clip(0, 255).astype(np.uint8))


def rows_of(path, separator=","):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter=separator))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes, and a few files as they happen to be."""
    root = tmp_path_factory.mktemp("images") / "stripes"
    for n in range(60):
        file = root / ("across", "upright")[n % 2] / f"{n}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        stripes(n, n % 2 == 1).save(file)
    (root / "across" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    (root / "across" / "notes.txt").write_text("x")
    return root


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "one"
    cli.run(
        [
            "vision",
            "train",
            "--data.path",
            str(folder),
            *QUICK,
            "--baselines",
            "logistic,resnet",
            "--run_dir",
            str(path),
        ]
    )
    return path


def test_what_a_run_leaves(run):
    facts = json.loads((run / "run.json").read_text())
    assert facts["task"] == "vision" and facts["status"] == "finished" and facts["seconds"]["fit"] > 0
    rows = {row["model"]: row for row in rows_of(run / "evaluation" / "comparison.csv")}
    assert set(rows) == {"xlstm", "logistic", "resnet", "frequencies"}
    assert 0.3 < int(rows["resnet"]["parameters"]) / int(rows["xlstm"]["parameters"]) < 3
    summary = json.loads((run / "data_summary.json").read_text())
    assert summary["labels"]["classes"] == ["across", "upright"] and summary["quality"]["kept"] == 60
    assert len(summary["quality"]["left_out"]) == 1 and len(rows_of(run / "rejected.csv")) == 1
    said = rows_of(run / "evaluation" / "predictions.csv")
    assert len(said) == summary["split"]["test"]["records"] == int(rows["xlstm"]["n"])
    wrong = [row for row in said if row["label"] != row["predicted"]]
    pictures = sorted((run / "evaluation" / "mistakes").glob("*.png"))
    assert len(pictures) == min(24, len(wrong)) and (run / "report.html").stat().st_size > 5000
    assert (run / "model" / "README.md").is_file() and (run / "metrics.csv").is_file()


def test_a_finished_run_is_left_alone_and_another_configuration_refused(run, folder, capsys):
    again = ["vision", "train", "--data.path", str(folder), *QUICK, "--baselines", "logistic,resnet"]
    again += ["--run_dir", str(run), "--resume"]
    cli.run(again)
    assert "nothing is left to do" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(ValueError, match=r"fit.learning_rate \(was None, is 0.5\)"):
        cli.run([*again, "--fit.learning_rate", "0.5"])
    with pytest.raises(ValueError, match="already holds a run"):
        cli.run([*again[:-1]])


def test_a_stopped_run_goes_on_to_the_same_weights(folder, tmp_path):
    from xlstm_apps.estimators import vision_plan
    from xlstm_apps.estimators.vision_saved import load_classifier

    options = ["vision", "train", "--data.path", str(folder), *QUICK, "--baselines", "[]", "--augment.mixup", "0.5"]
    options += ["--augment.crop_scale", "0.5", "--augment.rotate", "10"]
    cli.run([*options, "--run_dir", str(tmp_path / "whole")])

    class Stop(Exception):  # noqa: N818
        pass

    def after(self, *args, **more):
        def stop(row):
            if row["epoch"] == 1:
                raise Stop

        return train(self, *args, **more, after_epoch=stop)

    train = vision_plan.VisionPlan.train
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vision_plan.VisionPlan, "train", after)
        with pytest.raises(Stop):
            cli.run([*options, "--run_dir", str(tmp_path / "cut")])
    assert not (tmp_path / "cut" / "model").exists()
    cli.run([*options, "--run_dir", str(tmp_path / "cut"), "--resume"])
    one, two = (load_classifier(tmp_path / name).state_dict() for name in ("whole", "cut"))
    assert all((one[name] == two[name]).all() for name in one)


def test_new_images_are_predicted(run, folder, tmp_path):
    new = tmp_path / "new"
    (new / "deep").mkdir(parents=True)
    stripes(500, True).convert("L").save(new / "grey.png")
    stripes(501, False, 40).save(new / "deep" / "large.jpg")
    (new / "broken.png").write_bytes(b"")
    cli.run(["vision", "predict", str(run), "--data.path", str(new), "--output", str(tmp_path / "out.csv")])
    rows = rows_of(tmp_path / "out.csv")
    assert [row["path"] for row in rows] == ["broken.png", "deep/large.jpg", "grey.png"]
    assert rows[0]["status"] == "is empty" and rows[0]["predicted"] == "" and rows[0]["p_across"] == ""
    for row in rows[1:]:
        p = {name: float(row[f"p_{name}"]) for name in ("across", "upright")}
        assert row["status"] == "ok" and sum(p.values()) == pytest.approx(1, abs=1e-5)
        assert row["predicted"] == max(p, key=p.get)
    cli.run(
        ["vision", "predict", str(run), "--data.path", str(new), "--top", "1", "--output", str(tmp_path / "o.parquet")]
    )
    frame = pl.read_parquet(tmp_path / "o.parquet")
    assert frame.columns == ["path", "status", "top1", "p1"] and frame["top1"].to_list()[1:] == [
        r["predicted"] for r in rows[1:]
    ]
    only = tmp_path / "only"
    only.mkdir()
    (only / "x.jpg").write_bytes(b"no")
    cli.run(["vision", "predict", str(run), "--data.path", str(only), "--output", str(tmp_path / "bad.csv")])
    assert rows_of(tmp_path / "bad.csv")[0]["status"] == "holds no picture"
    with pytest.raises(ValueError, match="is empty; mend it"):
        cli.run(["vision", "predict", str(run), "--data.path", str(new), "--data.on_bad", "error"])
    with pytest.raises(ValueError, match="the model knows 2 classes"):
        cli.run(["vision", "predict", str(run), "--data.path", str(new), "--top", "3"])


def test_files_of_one_name_in_two_folders_keep_their_own_predictions(run, tmp_path):
    for number, (place, across) in enumerate((("a", True), ("b", False))):
        (tmp_path / place).mkdir()
        stripes(700 + number, across).save(tmp_path / place / "1.png")
    (tmp_path / "b" / "2.png").write_bytes(b"")
    folders = [str(tmp_path / "a"), str(tmp_path / "b")]
    for name, path in (("both", ",".join(folders)), ("a", folders[0]), ("b", folders[1])):
        cli.run(["vision", "predict", str(run), "--data.path", path, "--output", str(tmp_path / f"{name}.csv")])
    both, alone = rows_of(tmp_path / "both.csv"), rows_of(tmp_path / "a.csv") + rows_of(tmp_path / "b.csv")
    assert [row["p_across"] for row in both] == [row["p_across"] for row in alone]
    assert [row["path"] for row in both] == [str(tmp_path / "a" / "1.png"), str(tmp_path / "b" / "1.png"), "2.png"]
    assert both[0]["p_across"] != both[1]["p_across"] and both[2]["status"] == "is empty"


def test_predictions_are_those_of_the_run(run, folder, tmp_path):
    cli.run(["vision", "predict", str(run / "model"), "--data.path", str(folder), "--output", str(tmp_path / "p.csv")])
    now = {row["path"]: row for row in rows_of(tmp_path / "p.csv")}
    for row in rows_of(run / "evaluation" / "predictions.csv"):
        assert float(now[row["id"]]["p_across"]) == pytest.approx(float(row["p_across"]), abs=1e-5)


def test_evaluate_on_other_images(run, folder, tmp_path, capsys):
    cli.run(["vision", "evaluate", str(run), "--data.path", str(folder), "--output", str(tmp_path / "scores")])
    rows = rows_of(tmp_path / "scores" / "evaluation" / "comparison.csv")
    assert [row["model"] for row in rows] == ["xlstm", "chance"] and int(rows[0]["n"]) == 60
    assert float(rows[1]["accuracy"]) == 0.5
    told = capsys.readouterr().out, (tmp_path / "scores" / "report.html").read_text()
    assert "On 60 labelled images" in told[0] and "frequencies" not in told[0]
    assert "On these images" in told[1] and "held-out" not in "".join(told)  # they may have been learned from
    (tmp_path / "other" / "cat").mkdir(parents=True)
    stripes(1, True).save(tmp_path / "other" / "cat" / "1.png")
    with pytest.raises(ValueError, match=r"the model knows no class cat; it knows across, upright"):
        cli.run(
            ["vision", "evaluate", str(run), "--data.path", str(tmp_path / "other"), "--output", str(tmp_path / "x")]
        )
    assert not (tmp_path / "x").exists()
    with pytest.raises(ValueError, match="exists and is not empty"):
        cli.run(["vision", "evaluate", str(run), "--data.path", str(folder), "--output", str(tmp_path / "scores")])


def test_finetune_at_another_resolution_with_other_classes(run, folder, tmp_path):
    for n in range(24):
        file = tmp_path / "three" / "abc"[n % 3] / f"{n}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        stripes(n, n % 3 == 0, 20).save(file)
    options = [
        "--data.path",
        str(tmp_path / "three"),
        "--data.img_size",
        "20",
        "--fit.max_epochs",
        "1",
        "--baselines",
        "[]",
    ]
    cli.run(["vision", "finetune", str(run), *options, "--run_dir", str(tmp_path / "tuned")])
    resolved = json.loads((tmp_path / "tuned" / "run.json").read_text())["resolved"]
    assert resolved["vision"]["img_size"] == [20, 20] and resolved["vision"]["num_classes"] == 3
    assert resolved["vision"]["patch_size"] == [4, 4] and resolved["fit"]["learning_rate"] == 3e-4
    cli.run(["vision", "finetune", str(run), *options, "--head_only", "--run_dir", str(tmp_path / "head")])
    from xlstm_apps.estimators.vision_saved import load_classifier

    first, second = load_classifier(run), load_classifier(tmp_path / "head")
    assert (first.model.patch_embed.weight == second.model.patch_embed.weight).all()
    with pytest.raises(ValueError, match=r"network.embedding_dim is fixed by .* which has 16"):
        cli.run(["vision", "finetune", str(run), *options, "--network.embedding_dim", "32"])


def test_mistakes_are_told_before_a_folder_is_made(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base = ["vision", "train", "--data.path", str(folder)]
    for more, words in (
        (["--network.name", "vil_tinny"], "did you mean 'vil_tiny'"),
        (["--network.num_heads", "7"], "num_heads"),
        (["--network.patch_size", "64"], "network.patch_size=64 is more than"),
        (["--ema", "1"], "ema is a share"),
        (["--seed", "-1"], "seed=-1 must not be negative"),
        (["--data.split_seed", "-1"], "data.split_seed must not be negative"),
        (["--fit.accelerator", "cuda"], "no CUDA device"),
        (["--data.val_fraction", "0.9", "--data.test_fraction", "0.2"], "leave nothing"),
        (["--baselines", "svm"], "baselines"),
    ):
        with pytest.raises(ValueError, match=words):
            cli.run([*base, *more])
    with pytest.raises(ValueError, match="no such file or folder"):
        cli.run(["vision", "train", "--data.path", "nowhere"])
    assert not (tmp_path / "runs").exists()


def test_features_of_images(run, folder, tmp_path):
    out = tmp_path / "f.npz"
    cli.run(["vision", "embed", str(run), "--data.path", str(folder), "--output", str(out)])
    found = np.load(out)
    assert found["features"].shape == (60, 32) and len(found["path"]) == 60 and found["features"].dtype == np.float32
    cli.run(["vision", "embed", str(run), "--data.path", str(folder), "--output", str(tmp_path / "f.parquet")])
    frame = pl.read_parquet(tmp_path / "f.parquet")
    assert frame["path"].to_list() == found["path"].tolist()
    assert np.allclose(frame["features"].to_numpy(), found["features"])
    (tmp_path / "bad.png").write_bytes(b"")
    with pytest.raises(ValueError, match="none of 1 files can be read"):
        cli.run(["vision", "embed", str(run), "--data.path", str(tmp_path / "bad.png"), "--output", str(out)])


def test_explanations_are_pictures(run, folder, tmp_path):
    options = ["--data.path", str(folder / "upright"), "--max_images", "3", "--output", str(tmp_path / "why")]
    cli.run(["vision", "explain", str(run), *options])
    rows = rows_of(tmp_path / "why" / "explain.csv")
    assert len(rows) == 3 and all(row["map_of"] == row["predicted"] for row in rows)
    for row in rows:
        with Image.open(tmp_path / "why" / row["picture"]) as picture:
            assert picture.size[0] > 3 * 192 and np.asarray(picture).std() > 10
    assert (tmp_path / "why" / "explain.html").read_text().count("<img") == 3
    with pytest.raises(ValueError, match="knows no class 'cat'"):
        cli.run(["vision", "explain", str(run), *options[:-1], str(tmp_path / "no"), "--target", "cat"])
    with pytest.raises(ValueError, match="exists and is not empty"):
        cli.run(["vision", "explain", str(run), *options])


def test_an_exported_graph_computes_the_same(run, tmp_path):
    import onnxruntime
    import torch

    from xlstm_apps.estimators.vision_saved import load_classifier

    cli.run(["vision", "export", str(run), "--output", str(tmp_path / "m.onnx")])
    x = torch.rand(5, 3, 12, 12)
    with torch.no_grad():
        expected = load_classifier(run)(x).numpy()
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    assert session.run(["logits"], {"pixels": x.numpy()})[0] == pytest.approx(expected, abs=1e-5)
    facts = json.loads((tmp_path / "m.json").read_text())
    assert facts["classes"] == ["across", "upright"] and facts["img_size"] == 12 and facts["in_chans"] == 3
    assert {node.domain for node in _nodes(tmp_path / "m.onnx")} <= {"", "ai.onnx"}
    with pytest.raises(ValueError, match=r"write to a \.onnx or \.pt2 file"):
        cli.run(["vision", "export", str(run), "--output", str(tmp_path / "m.bin")])


def _nodes(path):
    import onnx

    return onnx.load(path).graph.node


def test_a_graph_of_torch_needs_nothing_of_ours(run, tmp_path):
    import torch

    cli.run(["vision", "export", str(run), "--output", str(tmp_path / "m.pt2"), "--img_size", "16"])
    program = torch.export.load(tmp_path / "m.pt2")
    assert not any("xlstm" in str(node.target) for node in program.graph.nodes if node.op == "call_function")
    assert program.module()(torch.rand(3, 3, 16, 16)).shape == (3, 2)


@pytest.mark.parametrize("name", ["digits", "any-folder"])
def test_shipped_recipes_train_two_steps(name, folder, tmp_path):
    options = ["--fit.max_steps", "2", "--fit.max_epochs", "1", "--baselines", "[]", "--run_dir", str(tmp_path / "run")]
    if name == "any-folder":
        options += ["--data.path", str(folder), "--data.img_size", "32", "--network.num_blocks", "2"]
    cli.run(["vision", "train", "--config", name, *options])
    assert json.loads((tmp_path / "run" / "run.json").read_text())["steps"] == 2


def test_weights_without_classes_can_be_fine_tuned(folder, tmp_path):
    from xlstm_apps.vision import create_model

    plain = create_model(
        "vil_tiny", img_size=16, patch_size=4, num_classes=7, embedding_dim=16, num_blocks=2, num_heads=2
    )
    plain.save_pretrained(tmp_path / "plain")
    with pytest.raises(ValueError, match="fine-tune them first"):
        cli.run(["vision", "predict", str(tmp_path / "plain"), "--data.path", str(folder)])
    options = ["--data.path", str(folder), "--fit.max_epochs", "1", "--baselines", "[]", "--head_only"]
    cli.run(["vision", "finetune", str(tmp_path / "plain"), *options, "--run_dir", str(tmp_path / "run")])
    images = json.loads((tmp_path / "run" / "run.json").read_text())["resolved"]["images"]
    assert images["mean"] == [0.485, 0.456, 0.406] and images["img_size"] == 16


def test_logistic_regression_of_some_of_the_images_knows_every_class(tmp_path, monkeypatch):
    """Of many images it is fitted to some, evenly drawn; a rare class in the middle may be between them."""
    for n in range(42):
        kind = "a" if n < 20 else "b" if n < 22 else "c"
        (tmp_path / "set" / kind).mkdir(parents=True, exist_ok=True)
        stripes(n, kind == "a").save(tmp_path / "set" / kind / f"{n:02}.png")
    monkeypatch.setattr(vision_baselines, "MOST", 2)
    cli.run(["vision", "train", "--data.path", str(tmp_path / "set"), *QUICK, "--fit.max_epochs", "1", "--baselines",
             "logistic", "--run_dir", str(tmp_path / "run")])  # fmt: skip
    models = [row["model"] for row in rows_of(tmp_path / "run" / "evaluation" / "comparison.csv")]
    assert models == ["xlstm", "logistic", "frequencies"]
