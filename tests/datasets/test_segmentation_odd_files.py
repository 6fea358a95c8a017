"""Odd files: read right, or refused in one line that names the file at fault; what is doubtful is told."""

import gzip
import struct

import numpy as np
import pytest
from PIL import Image

from xlstm_apps.datasets.images.decoding import BadImage
from xlstm_apps.datasets.images.nifti import orientation, place_of, read_nifti, write_nifti
from xlstm_apps.datasets.images.segmentation_config import MaskedImages, SegmentData
from xlstm_apps.datasets.images.segmentation_files import read_labels, read_pixels
from xlstm_apps.datasets.images.segmentation_pairs import find_pairs
from xlstm_apps.datasets.images.segmentation_set import load_masked
from xlstm_apps.datasets.images.segmentation_splits import split_masked

NAN, INF = float("nan"), float("inf")
VALUES = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)


def changed(path, *fields):
    """A volume with other entries in its header: (form, place, values ...)."""
    write_nifti(path, VALUES, spacing=(5.0, 0.5, 0.25))
    content = bytearray(path.read_bytes())
    for form, place, *values in fields:
        struct.pack_into("<" + form, content, place, *values)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("slope", [0.0, NAN])
def test_volumes_that_are_not_scaled(tmp_path, slope):
    np.testing.assert_array_equal(read_nifti(changed(tmp_path / "v.nii", ("2f", 112, slope, NAN))).pixels[0], VALUES)


def test_an_offset_left_open_is_that_behind_the_header(tmp_path):
    np.testing.assert_array_equal(read_nifti(changed(tmp_path / "v.nii", ("f", 108, 0.0))).pixels[0], VALUES)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (("f", 108, NAN), "at byte nan"),
        (("f", 108, -5.0), "at byte -5"),
        (("2f", 112, INF, 0.0), "scaled by inf"),
        (("2f", 112, 1.0, NAN), "shifted by nan"),
        (("i3s", 0, 540, b"n+2"), "is NIfTI-2; save it as NIfTI-1"),
    ],
)
def test_headers_that_cannot_be(tmp_path, field, message):
    with pytest.raises(BadImage, match=message):
        read_pixels(changed(tmp_path / "v.nii", field))


def test_volumes_cut_off(tmp_path):
    path = tmp_path / "v.nii"
    path.write_bytes(changed(path).read_bytes()[:348])
    with pytest.raises(BadImage, match="48 bytes of voxels are announced, 0 there"):
        read_pixels(path)
    (tmp_path / "v.nii.gz").write_bytes(gzip.compress(b""))
    with pytest.raises(BadImage, match="is empty"):
        read_pixels(tmp_path / "v.nii.gz")


@pytest.mark.parametrize("length", [0.0, NAN, INF])
def test_voxels_of_no_size(tmp_path, length):
    found = read_pixels(changed(tmp_path / "v.nii", ("f", 80, length)))
    assert found.spacing == (5.0, 0.5, 1.0) and "how large voxels are" in " ".join(found.notes)
    assert not read_pixels(changed(tmp_path / "v.nii")).notes


@pytest.mark.parametrize("row", [[NAN] * 4, [0.0] * 4])
def test_axes_that_lead_nowhere_are_not_known(tmp_path, row):
    header = read_nifti(changed(tmp_path / "v.nii", ("4f", 280, *row))).header
    assert place_of(header) is None and orientation(header) == ""


def test_arrays_that_are_none(tmp_path):
    path = tmp_path / "v.npy"
    with path.open("wb") as file:
        np.savez(file, a=VALUES)
    with pytest.raises(BadImage, match=r"several arrays \(\.npz\)"):
        read_pixels(path)
    np.save(path, VALUES.astype(object), allow_pickle=True)
    with pytest.raises(BadImage, match="array of Python objects; save one of numbers"):
        read_pixels(path)
    path.write_text("hello")
    with pytest.raises(BadImage, match="is no NumPy file"):
        read_labels(path)
    np.save(path, VALUES * 1e200)
    with pytest.raises(BadImage, match=r"voxels up to 1\.1e\+201; scale them"):
        read_pixels(path)


@pytest.mark.parametrize(("value", "message"), [(NAN, "not numbers"), (1e30, r"value 1e\+30, which is no number of a")])
def test_masks_of_floating_point(tmp_path, value, message):
    np.save(tmp_path / "m.npy", np.where(VALUES == 7, value, 0.0))
    with pytest.raises(BadImage, match=message):
        read_labels(tmp_path / "m.npy")


def test_small_volumes_do_not_keep_their_files_open(tmp_path):
    """A process has a thousand open files at most, and a map of a file is one of them."""
    np.save(tmp_path / "v.npy", VALUES)
    write_nifti(tmp_path / "v.nii", VALUES)
    for name in ("v.npy", "v.nii"):
        values, labels = read_pixels(tmp_path / name).values, read_labels(tmp_path / name)
        assert not isinstance(values, np.memmap) and not isinstance(labels, np.memmap)
    np.save(tmp_path / "large.npy", np.zeros((9, 1 << 10, 1 << 10), np.uint8))
    assert isinstance(read_pixels(tmp_path / "large.npy").values.base, np.memmap)


def test_large_volumes_stay_on_the_disk_where_they_are_scaled_too(tmp_path):
    values = np.arange(5 << 20, dtype=np.int16).reshape(5, 1 << 10, 1 << 10)
    write_nifti(tmp_path / "v.nii", values)
    assert isinstance(read_nifti(tmp_path / "v.nii").pixels, np.memmap)
    content = bytearray((tmp_path / "v.nii").read_bytes())
    struct.pack_into("<2f", content, 112, 0.5, -1024.0)
    (tmp_path / "v.nii").write_bytes(content)
    found = read_nifti(tmp_path / "v.nii").pixels
    assert isinstance(found, np.memmap) and found.dtype == np.float32
    np.testing.assert_array_equal(found[0], values.astype(np.float32) * 0.5 - 1024)


def volumes(folder, channels, masks: np.ndarray = VALUES > 9):
    """One volume for each number of channels."""
    for part in ("images", "masks"):
        (folder / part).mkdir(exist_ok=True)
    for n, count in enumerate(channels):
        np.save(folder / "images" / f"v{n}.npy", np.stack([VALUES + n] * count))
        np.save(folder / "masks" / f"v{n}.npy", np.asarray(masks))
    return SegmentData(path=str(folder))


@pytest.mark.parametrize("odd", [2, 3])
def test_channels_of_volumes_are_no_colours(tmp_path, odd):
    with pytest.raises(ValueError, match=rf"v1\.npy has {odd} channels, and 1 is needed"):
        load_masked(volumes(tmp_path, [1, odd, 1]))


def test_objects_have_no_negative_numbers(tmp_path):
    data = SegmentData(path=volumes(tmp_path, [1] * 3, VALUES - 5).path, masks="objects")
    with pytest.raises(ValueError, match=r"v0\.npy holds the negative value -5; objects have numbers from 1"):
        load_masked(data)


def test_objects_too_thin_to_be_parted_are_told(tmp_path):
    masks = np.zeros((2, 3, 4), np.uint8)
    masks[..., 0], masks[..., 1], masks[0, 0, 3] = 1, 2, 3
    found = load_masked(SegmentData(path=volumes(tmp_path, [1] * 3, masks).path, masks="objects"))
    assert "6 of 9 objects touch others and are too thin" in " ".join(found.report["notes"])
    masks[0, 0, 3] = 0
    data = SegmentData(path=volumes(tmp_path, [1] * 3, masks).path, masks="objects")
    with pytest.raises(ValueError, match="all are too thin"):
        split_masked(load_masked(data), data)


@pytest.fixture
def folder(tmp_path):
    """Six pictures with binary masks."""
    draw = np.random.default_rng(0)
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    for n in range(6):
        Image.fromarray(draw.integers(0, 256, (8, 9)).astype(np.uint8)).save(tmp_path / "images" / f"c{n}.png")
        Image.fromarray(draw.integers(0, 2, (8, 9)).astype(np.uint8)).save(tmp_path / "masks" / f"c{n}.png")
    return tmp_path


def stray(folder, value):
    path = folder / "masks" / "c2.png"
    mask = np.array(Image.open(path))
    mask[3, 3] = value
    Image.fromarray(mask).save(path)


def test_a_value_of_one_mask_is_told(folder):
    assert not load_masked(SegmentData(path=str(folder))).report["notes"]
    stray(folder, 77)
    data = SegmentData(path=str(folder))
    assert "the value 77 is in no mask but" in load_masked(data).report["notes"][0]
    parts = folder / "split.csv"
    parts.write_text("id,part\n" + "".join(f"c{n},{'test' if n == 2 else 'train'}\n" for n in range(6)))
    data = SegmentData(path=str(folder), split_path=str(parts))
    with pytest.raises(ValueError, match=r"no training image has class 77, but .*c2\.png has;.*ignore_value 77"):
        split_masked(load_masked(data), data)
    data = SegmentData(path=str(folder), values=[0, 1, 77, 9])
    with pytest.raises(ValueError, match=r"no mask has class 9 \(value 9 of data\.values\)"):
        split_masked(load_masked(data), data)


def test_masks_of_unknown_pixels_alone(folder):
    Image.fromarray(np.full((8, 9), 255, np.uint8)).save(folder / "masks" / "c1.png")
    report = load_masked(SegmentData(path=str(folder), ignore_value=255)).report
    assert report["empty"] == 0 and "1 of 6 masks hold data.ignore_value alone" in report["notes"][0]


def test_masks_in_a_folder_within_that_of_the_images(folder):
    for file in [*(folder / "images").iterdir()]:
        file.rename(folder / file.name)
    (folder / "images").rmdir()
    apart = MaskedImages(path=str(folder), masks_path=str(folder / "masks"))
    assert [pair.id for pair in find_pairs(apart).found] == [f"c{n}" for n in range(6)]


def test_channels_in_files_of_their_own(folder):
    for n in range(6):
        image = folder / "images" / f"c{n}.png"
        image.with_name(f"c{n}_0001.png").write_bytes(image.read_bytes())
        image.rename(image.with_name(f"c{n}_0000.png"))
    with pytest.raises(ValueError, match=r"images: channels in files of their own \(_0000, _0001"):
        find_pairs(SegmentData(path=str(folder)))


def test_a_suffix_that_no_mask_has(folder):
    with pytest.raises(ValueError, match=r"does not end in '_foo' \(11 more"):
        find_pairs(SegmentData(path=str(folder), mask_suffix="_foo"))


def test_split_files(folder):
    parts = folder / "split.csv"
    rows = "id,part\n" + "".join(f"c{n},{'test' if n == 2 else 'train'}\n" for n in range(6))
    data = SegmentData(path=str(folder), split_path=str(parts))
    found = load_masked(data)
    parts.write_text(rows + "gone,val\nelsewhere,val\n")
    assert split_masked(found, data)[1] == f"as {parts} say (2 of its ids without an image: elsewhere ...)"
    parts.write_text(rows.replace("train", "test"))
    with pytest.raises(ValueError, match=r"nothing is left to train on: 6 images; as .*split\.csv say, none"):
        split_masked(found, data)
    parts.write_bytes(rows.encode("utf-16"))
    with pytest.raises(ValueError, match=r"split\.csv: is no UTF-8 text \(invalid start byte at byte 0\)"):
        split_masked(found, data)
