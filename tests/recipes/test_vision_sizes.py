"""Images that are no squares: trained on as rectangles, and predicted at their own height and width."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from xlstm_apps import cli
from xlstm_apps.datasets.images.batches import fitted, random_crop
from xlstm_apps.estimators import vision_scores
from xlstm_apps.estimators.vision_saved import load_classifier
from xlstm_apps.recipes._vision_explain import overlay
from xlstm_apps.vision import create_model
from xlstm_apps.vision.streaming import can_stream, stream_features

QUICK = ["--network.embedding_dim", "16", "--network.num_blocks", "1", "--network.num_heads", "2"]
QUICK += ["--network.patch_size", "4", "--fit.max_epochs", "1", "--fit.accelerator", "cpu"]


def wide(seed, dark, size=(12, 30)):
    """Grey noise with a dark end on the left or on the right."""
    pixels = np.random.default_rng(seed).integers(120, 255, size, dtype=np.uint8)
    pixels[:, : size[1] // 4] //= 4 if dark == "left" else 1
    pixels[:, -size[1] // 4 :] //= 4 if dark == "right" else 1
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("images") / "wide"
    for n in range(24):
        kind = ("left", "right")[n % 2]
        (root / kind).mkdir(parents=True, exist_ok=True)
        wide(n, kind).save(root / kind / f"{n}.png")
    return root


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "one"
    cli.run(["vision", "train", "--data.path", str(folder), "--data.shape", "8,20", *QUICK,
             "--baselines", "logistic,vit", "--run_dir", str(path)])  # fmt: skip
    return path


def pixels_of(path):
    with Image.open(path) as picture:
        return torch.from_numpy(np.array(picture))[None]


def predicted(capsys, *options):
    cli.run(["vision", "predict", *options])
    lines = capsys.readouterr().out.splitlines()
    return {row["path"]: row for row in csv.DictReader(lines, delimiter="\t")}


def test_a_run_on_rectangles(run):
    classifier = load_classifier(run, "cpu")
    assert classifier.images.sides == (8, 20) and classifier.model.vision.grid == (2, 5)
    assert json.loads((run / "run.json").read_text())["status"] == "finished"
    pictures = []
    for path in (run / "evaluation" / "examples").glob("*.png"):
        with Image.open(path) as picture:
            pictures.append(picture.size)
    assert pictures and all(width * 8 == height * 20 for width, height in pictures)
    assert "20 x 8 pixels" in (run / "report.html").read_text()
    assert "20 x 8 pixels" in (run / "model" / "README.md").read_text()
    assert "1, 8, 20)" in (run / "model" / "README.md").read_text()


def test_predictions_in_the_shape_of_training_and_at_the_own_size(run, tmp_path, capsys):
    sizes = {"a.png": (12, 30), "b.png": (12, 30), "c.png": (9, 17), "d.png": (3, 50)}
    for n, (name, size) in enumerate(sizes.items()):
        wide(n, "left", size).save(tmp_path / name)
    classifier = load_classifier(run, "cpu")
    source = ["--model", str(run), "--data.path", str(tmp_path)]
    for own, options in ((False, []), (True, ["--own_size"])):
        rows = predicted(capsys, *source, *options)
        assert len(rows) == len(sizes)
        for name in sizes:
            image = pixels_of(tmp_path / name)
            x = (image if own else fitted(image, (8, 20), "crop")).float() / 255
            with torch.no_grad():
                p = classifier(x[None]).softmax(-1)[0, 0].item()
            row = next(row for path, row in rows.items() if path.endswith(name))
            assert float(row["p_left"]) == pytest.approx(p, abs=1e-5), (name, own)


def test_scores_at_the_own_size(run, folder, tmp_path):
    target = tmp_path / "scores"
    cli.run(["vision", "evaluate", str(run), "--data.path", str(folder), "--own_size", "--output", str(target)])
    with (target / "evaluation" / "comparison.csv").open(newline="") as file:
        assert {row["model"]: row["n"] for row in csv.DictReader(file)}["xlstm"] == "24"


def test_large_pictures_are_not_shrunk_on_the_way(run, tmp_path, capsys):
    wide(0, "left", (100, 300)).save(tmp_path / "large.png")  # more than twice the size of training
    (row,) = predicted(capsys, "--model", str(run), "--data.path", str(tmp_path), "--own_size").values()
    x = pixels_of(tmp_path / "large.png")[None].float() / 255
    with torch.no_grad():
        p = load_classifier(run, "cpu")(x).softmax(-1)[0, 0].item()
    assert float(row["p_left"]) == pytest.approx(p, abs=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--data.shape", "[8]"], "data.shape"),
        (["--data.shape", "[0,8]"], "height and width in pixels"),
        (["--data.shape", "[8,20]", "--data.img_size", "8"], "give one of them"),
    ],
)
def test_mistakes_in_one_line(options, words, folder, tmp_path):
    with pytest.raises(ValueError, match=words):
        cli.run(["vision", "train", "--data.path", str(folder), *options, "--run_dir", str(tmp_path / "no")])
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
@pytest.mark.parametrize("size", [(5, 9), (40, 3), (6, 18)])
def test_any_shape_becomes_the_rectangle(fit, size):
    image = torch.rand(1, *size)
    assert fitted(image, (6, 18), fit).shape == (1, 6, 18)
    crop = random_crop(image, (6, 18), 0.3, np.random.default_rng(0))
    assert crop.shape == (1, 6, 18)


def test_maps_lie_where_their_patches_do():
    plain, values = np.zeros((8, 9, 3), np.float32), torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    dark, bright = overlay(plain, values, (8, 12))[0, [0, 8]]  # of the last patch one column is there
    assert (dark == overlay(plain, values * 0, (8, 12))[0, 0]).all()
    middle = overlay(np.zeros((8, 12, 3), np.float32), values, (8, 12))
    assert (bright == middle[0, 8]).all() and (bright != middle[0, 11]).any()


def test_features_and_maps_at_the_own_size(run, tmp_path, capsys):
    (tmp_path / "new").mkdir()
    for n, size in enumerate(((12, 30), (9, 17), (300, 300))):
        wide(n, "left", size).save(tmp_path / "new" / f"{n}.png")
    (tmp_path / "new" / "x.png").write_bytes(b"")
    source = ["--model", str(run), "--data.path", str(tmp_path / "new"), "--own_size"]
    cli.run(["vision", "embed", *source, "--output", str(tmp_path / "found.npz")])
    with np.load(tmp_path / "found.npz") as found:
        named = dict(zip(found["path"].tolist(), found["features"], strict=True))
    classifier = load_classifier(run, "cpu")
    assert sorted(named) == ["0.png", "1.png", "2.png"]
    for name, features in named.items():
        with torch.no_grad():
            own = classifier.features(pixels_of(tmp_path / "new" / name)[None].float() / 255)[0]
        assert torch.allclose(torch.from_numpy(features), own, atol=1e-5), name
    cli.run(["vision", "explain", *source, "--output", str(tmp_path / "maps")])
    with (tmp_path / "maps" / "explain.csv").open(newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == ["0.png", "1.png"]
    with Image.open(tmp_path / "maps" / "001_0.png") as picture:
        assert picture.height * 30 == (picture.width - 12) // 3 * 12
    told = capsys.readouterr().err
    assert "left out  2 files" in told and "x.png is empty" in told
    assert "2.png has 5,625 patches at its own size, and at most 4,096 can be shown" in told


def test_large_pictures_are_streamed_at_their_own_size_and_the_largest_named(run, tmp_path, capsys, monkeypatch):
    for n, size in enumerate(((12, 30), (40, 90), (90, 40), (300, 300))):
        wide(n, "left", size).save(tmp_path / f"{n}.png")
    source = ["--model", str(run), "--data.path", str(tmp_path), "--own_size"]
    whole = predicted(capsys, *source)
    cli.run(["vision", "embed", *source, "--output", str(tmp_path / "whole.npz")])
    monkeypatch.setattr(vision_scores, "WHOLE_PATCHES", 100)
    monkeypatch.setattr(vision_scores, "MAP_VALUES", 16 * 1000)
    strips = predicted(capsys, *source)
    assert strips["3.png"]["status"] == "has 5,625 patches at its own size, and at most 1,000 are read; shrink it"
    for name in ("0.png", "1.png", "2.png"):
        assert float(strips[name]["p_left"]) == pytest.approx(float(whole[name]["p_left"]), abs=1e-5)
    cli.run(["vision", "embed", *source, "--output", str(tmp_path / "strips.npz")])
    with np.load(tmp_path / "whole.npz") as one, np.load(tmp_path / "strips.npz") as other:
        assert other["path"].tolist() == ["0.png", "1.png", "2.png"]
        assert np.allclose(one["features"][:3], other["features"], atol=1e-5)


def test_what_can_be_read_by_strips():
    options = {"num_classes": 0, "img_size": 8, "patch_size": 4, "num_blocks": 2, "embedding_dim": 16, "num_heads": 2}
    for scan, able in (("alternate", True), ("quad", True), ("snake", False), ("hilbert", False)):
        model = create_model("vil_tiny", scan=scan, **options).eval()
        assert can_stream(model) == able
        if not able:
            with pytest.raises(ValueError, match="has no rows to stream by"):
                stream_features(model, torch.zeros(3, 8, 8))


def test_maps_of_thin_pictures_and_of_long_names(run, tmp_path):
    (tmp_path / "new").mkdir()
    wide(0, "left", (6000, 1)).save(tmp_path / "new" / ("L" * 248 + ".png"))
    wide(1, "left", (12, 30)).save(tmp_path / "new" / ("\N{GREEK SMALL LETTER OMEGA}" * 120 + ".png"))
    cli.run(["vision", "explain", str(run), "--data.path", str(tmp_path / "new"), "--own_size", "--output",
             str(tmp_path / "maps")])  # fmt: skip
    sizes = []
    for path in sorted((tmp_path / "maps").glob("*.png")):
        with Image.open(path) as found:
            sizes.append(found.size)
    assert sizes == [(3 + 2 * 6, 6000), (3 * 210 + 2 * 6, 84)]  # the thin one is not 192 times as large
