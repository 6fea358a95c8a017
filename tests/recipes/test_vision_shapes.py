"""Wide and tall images in one set, each brought to the nearest of several rectangles."""

import csv
import json
from itertools import combinations

import numpy as np
import pytest
import torch
from PIL import Image

from xlstm_apps import ViLClassifier, cli
from xlstm_apps.datasets.images import ImageBatches, ImageData, load_images
from xlstm_apps.datasets.images.batches import fitted
from xlstm_apps.datasets.images.shapes import _parted, chosen_shapes, cut_off, nearest_shapes
from xlstm_apps.estimators.vision_saved import load_classifier
from xlstm_apps.vision.augmentation import augmented
from xlstm_apps.vision.baselines import ViT
from xlstm_apps.vision.module import ClassifierModule
from xlstm_apps.vision.training_config import AugmentConfig

SIZES = [(12, 24), (24, 12), (16, 17)]
QUICK = ["--network.embedding_dim", "16", "--network.num_blocks", "1", "--network.num_heads", "2"]
QUICK += ["--network.patch_size", "4", "--fit.max_epochs", "1", "--fit.accelerator", "cpu", "--fit.batch_size", "8"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("images") / "mixed"
    random = np.random.default_rng(0)
    for n in range(36):
        pixels = random.integers(0, 255, SIZES[n % 3], dtype=np.uint8)
        target = root / ("cat", "dog")[n // 3 % 2] / f"{n:02}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(target)
    return root


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "one"
    cli.run(["vision", "train", "--data.path", str(folder), "--data.num_shapes", "3", "--data.img_size", "16", *QUICK,
             "--baselines", "logistic,vit,resnet", "--augment.crop_scale", "0.5", "--augment.cutmix", "1",
             "--run_dir", str(path)])  # fmt: skip
    return path


def test_parts_have_the_least_spread():
    random = np.random.default_rng(0)
    for count in (1, 2, 3):
        values, weights = np.sort(random.normal(size=7)), random.integers(1, 5, 7)

        def spread(cuts, values=values, weights=weights):
            parts = [slice(a, b) for a, b in zip((0, *cuts), (*cuts, 7), strict=True)]
            means = [np.average(values[part], weights=weights[part]) for part in parts]
            return sum((weights[part] * (values[part] - m) ** 2).sum() for part, m in zip(parts, means, strict=True))

        best = min(combinations(range(1, 7), count - 1), key=spread)
        assert [first for first, _ in _parted(values, weights, count)] == [0, *best]


def test_rectangles_are_those_of_the_images():
    sizes = [(20, 30)] * 5 + [(30, 20)] * 3 + [(20, 20)] * 4
    assert chosen_shapes(sizes, 60, 3, 1) == ((49, 73), (60, 60), (73, 49))
    assert chosen_shapes(sizes, 60, 3, 8) == ((48, 72), (64, 64), (72, 48))
    assert chosen_shapes(sizes[:5], 60, 3, 1) == ((49, 73),)
    assert len(chosen_shapes([(1, 5000), (5000, 1)], 32, 2, 4)) == 2
    assert nearest_shapes(((49, 73), (73, 49)), np.array([[2, 3], [5, 1], [1, 9]])).tolist() == [0, 1, 0]
    assert cut_off(((10, 10),), np.array([[10, 20], [7, 7]])) == pytest.approx(0.25)


def test_batches_hold_every_image_in_its_shape(folder):
    data = ImageData(path=[str(folder)], num_shapes=3, img_size=16)
    held, read = (load_images(ImageData(**{**vars(data), "memory_gb": room})) for room in (2.0, 0.0))
    assert set(held.reading.shapes) == {(11, 23), (23, 11), (16, 16)} and read.pixels is None
    for images in (held, read):
        batches = ImageBatches(images, range(30), "squash")
        batch = batches.__getitems__([7, 0, 3, 1])
        assert [tuple(one.shape[2:]) for one in batch["pixels"]] == sorted(
            {(11, 23), (23, 11)}, key=images.reading.shapes.index
        )
        order = [n for rows in batches._by_shape([7, 0, 3, 1]) for n in rows]
        assert batch["label"].tolist() == images.labels[order].tolist()
        one = torch.cat([image.flatten() for group in batch["pixels"] for image in group])
        alone = torch.cat([batches.__getitems__([n])["pixels"].flatten() for n in order])
        assert torch.equal(one, alone)
        assert sorted(n for rows in batches.alike(4) for n in rows) == [*range(30)]


def test_a_batch_of_several_shapes_has_the_mean_loss_of_its_images():
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(4, 2))
    module = ClassifierModule(network, 2, AugmentConfig(flip=False))
    pixels, label = [torch.rand(3, 1, 4, 6), torch.rand(1, 1, 6, 4)], torch.tensor([0, 1, 1, 0])
    both = module.training_step({"pixels": pixels, "label": label}, 0)
    parts = [module.training_step({"pixels": pixels[0], "label": label[:3]}, 0),
             module.training_step({"pixels": pixels[1], "label": label[3:]}, 0)]  # fmt: skip
    assert torch.allclose(both, (3 * parts[0] + parts[1]) / 4)
    assert augmented(pixels[0], module.augment) is pixels[0]


def test_a_run_and_what_it_says(run, folder, tmp_path, capsys):
    classifier = load_classifier(run, "cpu")
    assert set(classifier.images.shapes) == {(12, 24), (24, 12), (16, 16)}
    assert classifier.images.shape == classifier.images.shapes[0]
    words = "24 x 12"
    assert words in (run / "report.html").read_text() and words in (run / "model" / "README.md").read_text()
    with (run / "evaluation" / "comparison.csv").open(newline="") as file:
        assert {row["model"] for row in csv.DictReader(file)} == {"xlstm", "logistic", "vit", "resnet", "frequencies"}
    shapes = set()
    for path in (run / "evaluation" / "examples").glob("*.png"):
        with Image.open(path) as picture:
            shapes.add(picture.width / picture.height)
    assert len(shapes) > 1
    cli.run(["vision", "predict", "--model", str(run), "--data.path", str(folder)])
    rows = {row["path"]: row for row in csv.DictReader(capsys.readouterr().out.splitlines(), delimiter="\t")}
    assert len(rows) == 36
    for n, sides in enumerate([(12, 24), (24, 12), (16, 16)]):
        with Image.open(folder / "cat" / f"{n:02}.png") as picture:
            x = fitted(torch.from_numpy(np.array(picture))[None], sides, "crop")[None].float() / 255
        with torch.no_grad():
            p = classifier(x).softmax(-1)[0, 0].item()
        assert float(rows[f"cat/{n:02}.png"]["p_cat"]) == pytest.approx(p, abs=1e-5)
    cli.run(["vision", "embed", "--model", str(run), "--data.path", str(folder), "--output", str(tmp_path / "x.npz")])
    cli.run(["vision", "explain", "--model", str(run), "--data.path", str(folder), "--output", str(tmp_path / "maps")])
    cli.run(["vision", "evaluate", str(run), "--data.path", str(folder), "--output", str(tmp_path / "scores")])


def test_fine_tuning_keeps_the_shapes_or_chooses_others(run, folder, tmp_path):
    common = ["vision", "finetune", "--from_model", str(run), "--data.path", str(folder), "--fit.max_epochs", "1",
              "--fit.accelerator", "cpu", "--baselines", "[]"]  # fmt: skip
    cli.run([*common, "--run_dir", str(tmp_path / "same")])
    cli.run([*common, "--data.num_shapes", "2", "--run_dir", str(tmp_path / "two")])
    cli.run([*common, "--data.img_size", "12", "--run_dir", str(tmp_path / "square")])
    pictures = [np.zeros(size, np.uint8) for size in SIZES] * 4
    made = ViLClassifier(from_model=str(run), max_epochs=1, accelerator="cpu").fit(pictures, [0, 1] * 6)
    assert made.model_.images.shapes == load_classifier(run, "cpu").images.shapes and len(made.predict(pictures)) == 12
    said = [json.loads((tmp_path / name / "run.json").read_text())["resolved"]["images"]["shapes"]
            for name in ("same", "two", "square")]  # fmt: skip
    assert [len(shapes) for shapes in said] == [3, 2, 0]


def test_what_is_cut_off_is_said_and_two_ways_to_say_shapes_are_one_too_many(folder, tmp_path, capsys):
    common = ["vision", "train", "--data.path", str(folder), *QUICK, "--baselines", "[]"]
    with pytest.raises(ValueError, match="give one of them"):
        cli.run([*common, "--data.num_shapes", "2", "--data.shape", "8,12", "--run_dir", str(tmp_path / "no")])
    with pytest.raises(ValueError, match=r"data\.num_shapes is a number of rectangles"):
        cli.run([*common, "--data.num_shapes", "0", "--run_dir", str(tmp_path / "no")])
    cli.run([*common, "--run_dir", str(tmp_path / "cut")])
    assert "images lose 35% of their area on average" in " ".join(capsys.readouterr().err.split())


def test_a_vit_reads_other_grids_as_one_built_for_them():
    torch.manual_seed(0)
    made, other = ViT(1, 2, (8, 16), 4, 16, 1), ViT(1, 2, (12, 8), 4, 16, 1)
    state = made.state_dict()
    positions = made.positions((3, 2)).detach().view(1, 3, 2, 16)
    other.load_state_dict({**state, "positions.embedding": positions})
    x = torch.randn(2, 1, 11, 8)
    assert torch.allclose(made(x), other(x), atol=1e-6)
