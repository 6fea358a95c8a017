"""Images and masks as people have them: paired by name, read exactly, or refused in one line that says what to mend."""

import gzip
import struct
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from xlstm_apps.datasets.images.decoding import BadImage
from xlstm_apps.datasets.images.nifti import read_nifti, write_nifti
from xlstm_apps.datasets.images.segmentation_config import MaskedImages, SegmentData, SegmentSource
from xlstm_apps.datasets.images.segmentation_files import read_labels, read_pixels, write_labels
from xlstm_apps.datasets.images.segmentation_pairs import find_images, find_pairs
from xlstm_apps.datasets.images.segmentation_patches import Patches, all_moments, normalised, own_moments
from xlstm_apps.datasets.images.segmentation_set import IGNORE, load_masked, read_for
from xlstm_apps.datasets.images.segmentation_splits import split_masked


def picture(seed=0, height=12, width=16, channels=1):
    values = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return values[..., 0] if channels == 1 else values


def mask(seed=0, height=12, width=16, values=(0, 255)):
    found = np.random.default_rng(seed).choice(np.array(values, np.uint8), (height, width))
    found[0, : len(values)] = values  # all of them occur
    return found


@pytest.fixture
def folder(tmp_path):
    """Eight grey images with binary masks."""
    for n in range(8):
        save(tmp_path / "images" / f"cell {n}.png", picture(n))
        save(tmp_path / "masks" / f"cell {n}.png", mask(n))
    return tmp_path


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def data(folder, **options):
    return SegmentData(path=str(folder), **options)


def test_folders_of_images_and_masks(folder):
    found = load_masked(data(folder))
    assert found.ids == [f"cell {n}" for n in range(8)]
    assert (found.meaning.values, found.meaning.names) == ((0, 255), ("background", "object"))
    assert found.meaning.in_chans == 1 and found.meaning.dims == 2
    np.testing.assert_array_equal(found.labels[3], mask(3) // 255)
    np.testing.assert_array_equal(found.pixels(3)[0], picture(3))
    assert found.report["kept"] == 8 and found.report["empty"] == 0
    parts, rule = split_masked(found, data(folder, val_fraction=0.25, test_fraction=0.25))
    assert {name: len(rows) for name, rows in parts.items()} == {"train": 4, "val": 2, "test": 2}
    assert sorted(np.concatenate([*parts.values()])) == list(range(8)) and rule == "at random"


def test_parts_folders_suffixes_and_endings(tmp_path):
    for part, names in {"train": "abc", "val": "d", "test": "e"}.items():
        for name in names:
            save(tmp_path / part / "images" / f"{name}.jpg", picture(ord(name)))
            save(tmp_path / part / "labels" / f"{name}_seg.tif", mask(ord(name), values=(0, 1, 2)))
    found = load_masked(data(tmp_path))
    assert found.meaning.values == (0, 1, 2) and found.meaning.names == ("background", "1", "2")
    parts, _ = split_masked(found, data(tmp_path))
    assert [found.ids[n] for n in parts["test"]] == ["test/e"] and len(parts["train"]) == 3


def test_images_and_masks_in_one_folder_or_named_by_option(folder, tmp_path):
    mixed = tmp_path / "mixed"
    for n in range(3):
        save(mixed / f"x{n}.png", picture(n))
        save(mixed / f"x{n}_mask.png", mask(n))
    assert len(find_pairs(MaskedImages(path=str(mixed), masks_path=str(mixed))).found) == 3
    apart = MaskedImages(path=str(folder / "images"), masks_path=str(folder / "masks"))
    assert len(find_pairs(apart).found) == 8
    one = MaskedImages(path=str(mixed / "x0.png"), masks_path=str(mixed / "x0_mask.png"))
    assert [pair.id for pair in find_pairs(one).found] == ["x0"]
    assert len(find_images(SegmentSource(path=str(folder))).found) == 8  # of the folder that holds both


def test_several_classes_names_and_unknown_pixels(folder):
    save(folder / "masks" / "cell 0.png", mask(0, values=(0, 1, 7, 250)))
    for n in range(1, 8):
        save(folder / "masks" / f"cell {n}.png", mask(n, values=(0, 1, 7)))
    found = load_masked(data(folder, values=[0, 7, 1], names=["nothing", "wall", "core"], ignore_value=250))
    expected = {0: 0, 7: 1, 1: 2, 250: IGNORE}
    np.testing.assert_array_equal(found.labels[0], np.vectorize(expected.get)(mask(0, values=(0, 1, 7, 250))))
    assert [row["name"] for row in found.report["classes"]] == ["nothing", "wall", "core"]


def test_objects_that_touch_stay_apart(folder):
    numbers = np.zeros((12, 16), np.uint16)
    numbers[2:8, 1:5], numbers[2:8, 5:9], numbers[10, 10] = 300, 7, 9
    for n in range(8):
        save(folder / "masks" / f"cell {n}.png", numbers)
    found = load_masked(data(folder, masks="objects"))
    assert found.meaning.values == (0, 1) and found.masks[0].max() == 300
    assert found.labels[0][4, 2] == 1 and (found.labels[0][4, 4:6] == 0).all()


def break_size(folder):
    save(folder / "masks" / "cell 2.png", mask(2, height=13))


def break_colours(folder):
    save(folder / "masks" / "cell 2.png", picture(2, channels=4))


def break_fractions(folder):
    (folder / "masks" / "cell 2.png").unlink()
    save(folder / "masks" / "cell 2.tif", np.full((12, 16), 0.5, np.float32))


def break_jpeg(folder):
    (folder / "masks" / "cell 2.png").unlink()
    save(folder / "masks" / "cell 2.jpg", mask(2))


def break_truncated(folder):
    file = folder / "masks" / "cell 2.png"
    file.write_bytes(file.read_bytes()[:-60])


def break_image(folder):
    (folder / "images" / "cell 2.png").write_bytes(b"")


def break_empty_mask(folder):
    (folder / "masks" / "cell 2.png").write_bytes(b"")


def break_lonely_mask(folder):
    (folder / "images" / "cell 2.png").unlink()


def break_lonely_image(folder):
    (folder / "masks" / "cell 2.png").unlink()


def break_value(folder):
    save(folder / "masks" / "cell 2.png", mask(2, values=(0, 255, 3)))


@pytest.mark.parametrize(
    ("damage", "message", "options"),
    [
        (break_size, r"masks.cell 2.png has 13 x 16 pixels, its image .*images.cell 2.png has 12 x 16", {}),
        (break_colours, r"cell 2.png is RGBA with", {}),
        (break_fractions, r"cell 2.tif has fractions", {}),
        (break_jpeg, r"cell 2.jpg is a JPEG file, which changes values", {}),
        (break_truncated, r"masks.cell 2.png is truncated or broken", {}),
        (break_image, r"images.cell 2.png is empty", {}),
        (break_empty_mask, r"masks.cell 2.png is empty", {}),
        (break_lonely_mask, r"masks.cell 2.png is a mask without an image", {}),
        (break_lonely_image, r"images.cell 2.png has no mask", {}),
        (break_value, r"cell 2.png holds the value 3, and the classes are 0, 255", {"values": [0, 255]}),
    ],
)
def test_bad_files_stop_in_one_line_or_are_left_out_and_counted(folder, damage, message, options):
    damage(folder)
    with pytest.raises(ValueError, match=message) as error:
        load_masked(data(folder, **options))
    assert "\n" not in str(error.value) and "data.on_bad skip" in str(error.value)
    found = load_masked(data(folder, on_bad="skip", **options))
    assert len(found) == 7 and "cell 2" not in found.ids
    assert [row["path"].rpartition("cell 2")[1] for row in found.rejected] == ["cell 2"]
    assert sum(found.report["left_out"].values()) == 1


def test_masks_that_say_the_same_in_other_modes(folder, tmp_path):
    values = mask(1, values=(0, 1, 2))
    palette = Image.fromarray(values).convert("P")
    palette.putdata(values.reshape(-1).tolist())
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    palette.save(tmp_path / "p.png")
    opaque = np.dstack([values, values, values, np.full_like(values, 255)])
    save(tmp_path / "rgba.png", opaque)
    save(tmp_path / "deep.png", values.astype(np.uint16))
    save(tmp_path / "floats.tif", values.astype(np.float32))
    for name in ("p.png", "rgba.png", "deep.png", "floats.tif"):
        np.testing.assert_array_equal(read_labels(tmp_path / name), values)
    Image.fromarray(mask(1)).convert("1").save(tmp_path / "bits.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "bits.png"), mask(1) // 255)


def test_masks_with_nothing_in_them(folder):
    save(folder / "masks" / "cell 4.png", np.zeros((12, 16), np.uint8))
    found = load_masked(data(folder))
    assert found.report["empty"] == 1 and "1 of 8 masks are empty" in " ".join(found.report["notes"])
    for n in range(8):
        save(folder / "masks" / f"cell {n}.png", np.zeros((12, 16), np.uint8))
    with pytest.raises(ValueError, match=r"^.*: all 8 masks hold the value 0 only; there is nothing to learn"):
        load_masked(data(folder))
    with pytest.raises(ValueError, match="all 8 masks are empty"):
        load_masked(data(folder, masks="objects"))


def test_numbers_of_objects_taken_for_classes(folder):
    save(folder / "masks" / "cell 0.png", np.arange(12 * 16, dtype=np.uint16).reshape(12, 16))
    with pytest.raises(ValueError, match=r"different values.*data\.masks objects"):
        load_masked(data(folder))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val_fraction": 0.6, "test_fraction": 0.5}, "nothing to train on"),
        ({"val_fraction": -0.1}, "val_fraction"),
        ({"values": [0]}, "two or more"),
        ({"values": [0, 1], "names": ["a"]}, "names"),
        ({"masks": "objects", "values": [0, 1]}, "masks of classes"),
        ({"values": [0, 9], "ignore_value": 9}, "ignore_value"),
        ({"spacing": [1.0]}, "spacing"),
        ({"group": "("}, "regular expression"),
    ],
)
def test_options_that_contradict_each_other(options, message):
    with pytest.raises(ValueError, match=message):
        SegmentData(path="x", **options)


def test_missing_places(tmp_path, folder):
    for path, message in ((tmp_path / "no", "no such"), (folder / "images", "no folders `images` and `masks`")):
        with pytest.raises(ValueError, match=message):
            find_pairs(data(path))
    save(folder / "images" / "cell 1.bmp", picture(1))
    with pytest.raises(ValueError, match="one name but for the ending"):
        find_pairs(data(folder))


def test_split_by_file_by_group_and_of_copies(folder):
    found = load_masked(data(folder))
    listed = folder / "split.csv"
    rows = [f"cell {n},{'test' if n < 2 else 'valid' if n < 4 else 'train'}" for n in range(8)]
    listed.write_text("\n".join(["id,part", *rows]))
    parts, _ = split_masked(found, data(folder, split_path=str(listed)))
    assert parts["test"].tolist() == [0, 1] and parts["val"].tolist() == [2, 3]
    listed.write_text("id,part\ncell 1,train\ncell 1,test\n")
    with pytest.raises(ValueError, match=r"line 3: cell 1 is there twice"):
        split_masked(found, data(folder, split_path=str(listed)))
    listed.write_text("id,part\ncell 1,train\n")
    with pytest.raises(ValueError, match="no part for cell 0"):
        split_masked(found, data(folder, split_path=str(listed)))
    parts, _ = split_masked(found, data(folder, group="[0-3]|[4-7]", val_fraction=0.25, test_fraction=0.25))
    assert sum(map(len, parts.values())) == 8
    with pytest.raises(ValueError, match="finds nothing"):
        split_masked(found, data(folder, group="patient"))
    for n in range(1, 4):
        save(folder / "images" / f"cell {n}.png", picture(0))
    found = load_masked(data(folder))
    for seed in range(5):
        parts, _ = split_masked(found, data(folder, split_seed=seed, val_fraction=0.3, test_fraction=0.3))
        assert sum(bool({0, 1, 2, 3} & set(rows.tolist())) for rows in parts.values()) == 1


@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz"])
def test_nifti_there_and_back(tmp_path, name):
    values = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
    write_nifti(tmp_path / name, values, spacing=(5.0, 0.5, 0.25))
    found = read_pixels(tmp_path / name)
    np.testing.assert_array_equal(found.values, values[None])
    assert found.spacing == (5.0, 0.5, 0.25)
    write_labels(tmp_path / "m.nii.gz", values > 3, found.header, found.spacing)
    again = read_nifti(tmp_path / "m.nii.gz")
    assert again.spacing == found.spacing and again.pixels.dtype == np.uint8
    np.testing.assert_array_equal(read_labels(tmp_path / "m.nii.gz"), values > 3)


def test_nifti_as_its_library_has_it(tmp_path):
    nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed; our own reader is tested alone")
    values = np.random.default_rng(0).normal(size=(4, 3, 2)).astype(np.float32)
    affine = np.diag([0.5, 2.0, 3.0, 1.0])
    affine[:3, 3] = 7, 8, 9
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "theirs.nii.gz")
    found = read_pixels(tmp_path / "theirs.nii.gz")
    np.testing.assert_array_equal(found.values[0], values.T)
    assert found.spacing == (3.0, 2.0, 0.5)
    write_labels(tmp_path / "ours.nii", values.T > 0, found.header, found.spacing)
    ours = nibabel.load(tmp_path / "ours.nii")
    np.testing.assert_array_equal(np.asarray(ours.dataobj), values > 0)
    np.testing.assert_allclose(ours.affine, affine)


def test_broken_volumes(tmp_path):
    write_nifti(tmp_path / "v.nii", np.zeros((2, 3, 4), np.float32))
    whole = (tmp_path / "v.nii").read_bytes()
    for content, message in ((whole[:-5], "truncated"), (whole[:100], "no NIfTI-1"), (b"x" * 400, "no NIfTI-1")):
        (tmp_path / "v.nii").write_bytes(content)
        with pytest.raises(BadImage, match=message):
            read_pixels(tmp_path / "v.nii")
    (tmp_path / "v.nii.gz").write_bytes(gzip.compress(whole)[:-30])
    with pytest.raises(BadImage, match="cannot be unpacked"):
        read_pixels(tmp_path / "v.nii.gz")
    np.save(tmp_path / "a.npy", np.zeros((3, 4)))
    with pytest.raises(BadImage, match=r"shape \[3, 4\]"):
        read_pixels(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.full((2, 3, 4), np.nan))
    with pytest.raises(BadImage, match="not numbers"):
        read_pixels(tmp_path / "a.npy")


def test_masks_of_volumes(tmp_path):
    for n in range(3):
        for what in ("images", "masks"):
            (tmp_path / what).mkdir(exist_ok=True)
            values = np.zeros((2, 3, 4), np.uint8)
            values[0, n] = 1
            write_nifti(tmp_path / what / f"{n}.nii", values, None, (1.0 + 2 * (n == 0), 1.0, 1.0))
    assert "voxels of 2 different sizes" in load_masked(data(tmp_path)).report["notes"][0]
    whole = bytearray((tmp_path / "masks" / "1.nii").read_bytes())
    struct.pack_into("<8h", whole, 40, 4, 4, 3, 1, 2, 1, 1, 1)  # two channels of one slice
    (tmp_path / "masks" / "1.nii").write_bytes(bytes(whole))
    with pytest.raises(ValueError, match=r"masks.1.nii has shape \[2, 1, 3, 4\]; a mask has .* one value for each"):
        load_masked(data(tmp_path))


def test_volumes_of_several_kinds(tmp_path):
    values = np.random.default_rng(0).integers(0, 200, (3, 8, 9), dtype=np.uint8)
    for n, ending in enumerate((".nii", ".npy", ".tif")):
        for part, volume in (("images", values + n), ("masks", (values > 100).astype(np.uint8))):
            (tmp_path / part).mkdir(exist_ok=True)
            write_labels(tmp_path / part / f"v{n}{ending}", volume, None, (2.0, 1.0, 1.0))
    found = load_masked(data(tmp_path, spacing=[3.0, 1.0, 1.0]))
    assert found.meaning.dims == 3 and [image.values.shape for image in found.images] == [(1, 3, 8, 9)] * 3
    np.testing.assert_array_equal(found.labels[2], values > 100)
    assert found.spacing(0) == (2.0, 1.0, 1.0) and found.spacing(0, [3.0, 1.0, 1.0]) == (3.0, 1.0, 1.0)
    save(tmp_path / "images" / "flat.png", picture())
    save(tmp_path / "masks" / "flat.png", mask())
    with pytest.raises(ValueError, match="pictures and volumes apart"):
        load_masked(data(tmp_path))
    (tmp_path / "images" / "flat.png").unlink()
    with pytest.raises(BadImage, match="has 3 dimensions, and the model reads 2"):
        read_for(find_images(SegmentSource(path=str(tmp_path))).found[0], replace(found.meaning, dims=2))


def test_patches(folder):
    save(folder / "images" / "cell 0.png", picture(0, 40, 30))
    big = np.zeros((40, 30), np.uint8)
    big[33, 21] = 255
    save(folder / "masks" / "cell 0.png", big)
    found = load_masked(data(folder))
    patches = Patches(found, [0, 1], (16, 16), per_image=9, seed=3)
    assert len(patches) == 18
    batch = patches.__getitems__([0, 6, 12])  # of image 0, every one of them around its only foreground pixel
    assert batch["image"].shape == (3, 1, 16, 16) and (batch["label"] == 1).sum((1, 2)).tolist() == [1, 1, 1]
    again = Patches(found, [0, 1], (16, 16), per_image=9, seed=3).__getitems__([0, 6, 12])
    assert all((batch[key] == again[key]).all() for key in batch)
    small = patches.__getitems__([1])  # 12 x 16: two rows outside above and below
    assert (small["label"][0, :2] == IGNORE).all() and (small["label"][0, 14:] == IGNORE).all()
    assert (small["image"][0, 0, :2] == 0).all() and (small["label"][0, 2:14] >= 0).all()
    np.testing.assert_array_equal(small["label"][0, 2:14], found.labels[1])


def test_moments(folder):
    found = load_masked(data(folder))
    mean, spread = own_moments(found.pixels(0))
    np.testing.assert_allclose([mean[0], spread[0]], [picture(0).mean(), picture(0).std()])
    everything = np.stack([found.pixels(n) for n in range(8)])
    mean, spread = all_moments(found, range(8))
    np.testing.assert_allclose([mean[0], spread[0]], [everything.mean(), everything.std()])
    flat = normalised(np.full((1, 4, 4), 9, np.uint8), own_moments(np.full((1, 4, 4), 9, np.uint8)))
    assert (flat == 0).all()
