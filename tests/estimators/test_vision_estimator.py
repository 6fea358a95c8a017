"""`ViLClassifier`: images of all kinds to classes, as scikit-learn does it."""

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score

from xlstm_apps.datasets.images import read_image
from xlstm_apps.estimators import ViLClassifier
from xlstm_apps.estimators.vision_images import array_of, listing_of, scale_of

SMALL = {"embedding_dim": 16, "num_blocks": 1, "num_heads": 2}


def toy(count=60, size=8, seed=0):
    """Bright on the left or on the right."""
    draw = np.random.default_rng(seed)
    y = draw.integers(2, size=count)
    X = draw.integers(0, 80, (count, size, size), dtype=np.uint8)
    for image, side in zip(X, y, strict=True):
        image[:, side * size // 2 : (side + 1) * size // 2] += 150
    return X, y


def estimator(**options):
    return ViLClassifier(
        patch_size=4, network=SMALL, max_epochs=12, learning_rate=5e-3, accelerator="cpu", batch_size=16, **options
    )


@pytest.fixture(scope="module")
def fitted():
    return estimator().fit(*toy())


def test_it_learns_and_is_the_same_again(fitted):
    X, y = toy(seed=1)
    assert fitted.score(X, y) > 0.9 and fitted.predict_proba(X).sum(1) == pytest.approx(np.ones(60), abs=1e-5)
    again = clone(fitted).fit(*toy())
    assert (again.predict_proba(X) == fitted.predict_proba(X)).all() and fitted.embed(X[:3]).shape == (3, 32)


def test_all_forms_of_images_are_the_same(fitted, tmp_path):
    X, _ = toy(6, seed=2)
    p = fitted.predict_proba(X)
    forms = {"channels last": X[..., None], "channels first": X[:, None], "rows": X.reshape(6, -1), "list": list(X),
             "pictures": [Image.fromarray(x) for x in X], "colours": X[..., None].repeat(3, 3)}  # fmt: skip
    for n, x in enumerate(X):
        Image.fromarray(x).save(tmp_path / f"{n}.png")
    forms["paths"] = [tmp_path / f"{n}.png" for n in range(6)]
    forms["texts"] = [str(path) for path in forms["paths"]]
    for name, images in forms.items():
        assert fitted.predict_proba(images) == pytest.approx(p, abs=1e-2 if name == "colours" else 1e-6), name
    large = [np.asarray(Image.fromarray(x).resize((24, 16), 0)) for x in X]
    assert (fitted.predict(large) == fitted.predict(X)).all()


def test_rectangles(tmp_path):
    X, y = toy(40)
    wide = X.repeat(2, 2)  # 8 x 16
    made = estimator().fit(wide, y)
    assert made.model_.images.sides == (8, 16) and made.model_.model.vision.grid == (2, 4)
    assert made.score(wide, y) > 0.9
    made.save(tmp_path / "m")
    assert (ViLClassifier.load(tmp_path / "m").predict_proba(wide) == made.predict_proba(wide)).all()
    other = estimator(img_size=(4, 8), from_model=made, head_only=True)
    other.patch_size = other.network = None
    assert other.fit(wide, y).model_.images.sides == (4, 8)
    with pytest.raises(ValueError, match="height and width in pixels"):
        estimator(img_size=(4, 8, 8)).fit(wide, y)


def test_numbers_of_any_range(fitted):
    X, y = toy()
    other = estimator().fit((X.astype(np.float64) / 255 * 16).reshape(60, -1), y)
    assert other.scale_.high == pytest.approx(float(X.max()) / 255 * 16)
    assert other.score((X / 255 * 16).reshape(60, -1), y) > 0.9


def test_a_scale_other_than_the_one_learned_is_refused(fitted):
    X, _ = toy(20)
    for other, words in ((X.astype(int), "from 0 to"), (X.astype(np.float32), "were bytes, or from 0 to 1")):
        with pytest.raises(ValueError, match=words):
            fitted.predict(other)  # clipped, all would be white
        with pytest.raises(ValueError, match=r"X\[0\] has pixels"):
            fitted.predict([*other])
    listed, whole = scale_of([*X.astype(float)]), scale_of(X.astype(float))
    assert listed == whole and whole.high > 200
    same = [listing_of(images, whole).records[3].pixels for images in (X.astype(float), [*X.astype(float)])]
    assert (same[0] == same[1]).all() and same[0].max() > 0.8
    with pytest.raises(ValueError, match=r"from 0 to 0\.89.*scale them alike"):
        listing_of(X / 255, whole)
    assert listing_of(X * 0.0, whole).records[0].pixels.max() == 0  # black is black on any scale
    with pytest.raises(ValueError, match="y mixes numbers and strings"):
        estimator().fit(X, np.array([1, "a"] * 10, dtype=object))


def test_single_pixels_beyond_the_learned_range_are_clipped(fitted):
    X = np.random.default_rng(0).uniform(0, 1, (10, 8, 8))
    stray = X.copy()
    stray[3, 2, 1], stray[4, 0, 0] = 11, -5  # as from MinMaxScaler, where a pixel was always 0 in training
    assert (fitted.predict_proba(stray) == fitted.predict_proba(stray.clip(0, 1))).all()
    assert (fitted.predict_proba([*stray]) == fitted.predict_proba(stray)).all()
    stray[:, 2:] = 11
    with pytest.raises(ValueError, match=r"from -5 to 11.*scale them alike"):
        fitted.predict_proba(stray)


def test_classes_are_what_they_were_and_survive_saving(fitted, tmp_path):
    X, y = toy(40)
    names = np.array(["left", "right"])[y]
    made = estimator().fit(X, names)
    assert made.predict(X).dtype.kind == "U" and set(made.predict(X)) <= {"left", "right"}
    made.save(tmp_path / "m")
    again = ViLClassifier.load(tmp_path / "m")
    assert (again.predict(X) == made.predict(X)).all() and again.get_params()["network"] == SMALL
    tuned = estimator(from_model=made, head_only=True)
    tuned.patch_size = tuned.network = None
    tuned.max_epochs = 1
    assert tuned.fit(X, 1 - y).classes_.tolist() == [0, 1]
    fitted.save(tmp_path / "n")
    assert ViLClassifier.load(tmp_path / "n").predict(X).dtype == fitted.predict(X).dtype
    with pytest.raises(ValueError, match="no saved estimator"):
        ViLClassifier.load(tmp_path)


def test_scikit_learn_can_use_it():
    X, y = toy(30)
    quick = estimator(patience=None).set_params(max_epochs=1)
    assert len(cross_val_score(quick, X, y, cv=2)) == 2


@pytest.mark.parametrize(
    ("X", "y", "words"),
    [
        (np.zeros((4, 10)), [0, 1, 0, 1], "10 is no square"),
        (np.zeros((4, 5, 5, 2)), [0, 1, 0, 1], "has the shape"),
        (np.full((4, 5, 5), np.nan), [0, 1, 0, 1], "not numbers"),
        (np.zeros((4, 5, 5)), [0, 1, 0], "4 images and y 3 entries"),
        (np.zeros((4, 5, 5)), [1, 1, 1, 1], "one class only"),
        (np.zeros((4, 5, 5)), [[1], [2], [3], [4]], "one class for each image"),
        (["/nowhere/a.png", "/nowhere/b.png"], [0, 1], "/nowhere/a.png does not exist"),
        ([np.zeros((5, 5)), "x" * 3], [0, 1], "xxx does not exist"),
        ([np.zeros((5, 5)), None], [0, 1], r"X\[1\] is of the type NoneType"),
        ("one.png", [0, 1], "X is one image"),
        (np.zeros((4, 5, 5)), [0.0, np.nan, 1.0, 1.0], "missing classes"),
        (np.zeros((4, 5, 5)), [0.0, 0.5, 1.0, 1.0], "y holds 0.5: classes are names or whole numbers"),
    ],
)
def test_what_cannot_be_used_is_named(X, y, words):
    with pytest.raises(ValueError, match=words):
        estimator().fit(X, y)


def test_options_that_do_not_exist(fitted):
    X, y = toy(20)
    with pytest.raises(ValueError, match="did you mean 'num_blocks'"):
        ViLClassifier(network={"num_block": 2}).fit(X, y)
    with pytest.raises(ValueError, match="did you mean 'rotate'"):
        ViLClassifier(augment={"rotates": 2}).fit(X, y)
    with pytest.raises(ValueError, match="shape is crop, pad or squash"):
        ViLClassifier(shape="stretch").fit(X, y)
    with pytest.raises(NotFittedError):
        ViLClassifier().predict(X)
    assert array_of(["a"]) is None


def test_an_opened_picture_is_read_as_its_file(fitted, tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(colours).save(tmp_path / "turned.jpg", exif=exif)
    Image.fromarray(colours).quantize(8).save(tmp_path / "palette.png", transparency=bytes([0, 90, 255, 3]))
    for name in ("turned.jpg", "palette.png"):
        with Image.open(tmp_path / name) as opened:
            (held,) = listing_of([opened], scale_of([opened])).records
        assert (held.pixels == read_image(tmp_path / name).pixels).all(), name
    plain = Image.fromarray(colours)
    for mode in ("HSV", "RGBa", "La", "LAB", "PA"):
        between = {"RGBa": "RGBA", "La": "LA", "PA": "P"}.get(mode, "RGB")
        assert fitted.predict([plain.convert(between).convert(mode)]).shape == (1,), mode


def test_what_is_no_list_of_images_or_no_model(fitted, tmp_path):
    X, y = toy(4)
    Image.fromarray(X[0]).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    with Image.open(tmp_path / "a.png") as cut, pytest.raises(ValueError, match=r"X\[0\] is truncated or damaged"):
        fitted.predict([cut])
    with pytest.raises(ValueError, match=r"X\[0\] cannot be decoded"):
        fitted.predict([cut])
    with pytest.raises(ValueError, match="X is of the type NoneType; give a list of images or an array"):
        fitted.predict(None)
    with pytest.raises(ValueError, match="X is of the type int; give a list of images or an array"):
        estimator().fit(3, y)
    with pytest.raises(ValueError, match="from_model is a path, a model or a ViLClassifier; not int"):
        estimator(from_model=3).fit(X, y)
