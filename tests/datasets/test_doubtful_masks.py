"""Masks and volumes that could be meant otherwise than they are read: told, or refused in one line."""

import struct
import unicodedata

import numpy as np
import pytest
from PIL import Image

from xlstm_apps.datasets.images import SegmentData, load_masked, split_masked
from xlstm_apps.datasets.images.nifti import HEADER, orientation, place_of, write_nifti
from xlstm_apps.datasets.images.segmentation_files import read_pixels
from xlstm_apps.datasets.images.segmentation_pairs import find_images


def picture(seed, size=(12, 16, 3)):
    return np.random.default_rng(seed).integers(0, 256, size).astype(np.uint8)


def mask(*values):
    found = np.zeros((12, 16), np.uint8)
    for n, value in enumerate(values):
        found[2 + 4 * n : 5 + 4 * n, 3:8] = value
    return found


@pytest.fixture
def folder(tmp_path):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for n in range(6):
        Image.fromarray(picture(n)).save(tmp_path / "images" / f"c{n}.png")
        Image.fromarray(mask(255)).save(tmp_path / "masks" / f"c{n}.png")
    return tmp_path


def data(folder, **options):
    return SegmentData(path=str(folder), **options)


def notes(folder, **options):
    return " ".join(load_masked(data(folder, **options)).report["notes"])


def test_one_class_by_two_values_is_refused(folder):
    for n in range(2):
        Image.fromarray(mask(1)).save(folder / "masks" / f"c{n}.png")
    with pytest.raises(ValueError, match="2 masks hold 0 and 1, 4 hold 0 and 255; write the same class by the same"):
        load_masked(data(folder))
    assert load_masked(data(folder, values=[0, 1, 255])).meaning.values == (0, 1, 255)


def test_255_beside_other_classes_is_told(folder):
    for n in range(6):
        Image.fromarray(mask(1, 255)).save(folder / "masks" / f"c{n}.png")
    assert "data.ignore_value 255" in notes(folder)
    assert "255" not in notes(folder, ignore_value=255) + notes(folder, values=[0, 1, 255])


@pytest.mark.parametrize(("value", "words"), [(-1, "data.ignore_value -1"), (3e9, "the value 3,000,000,000")])
def test_values_that_no_mask_could_hold(tmp_path, value, words):
    for n in range(3):
        for name, values in (("images", picture(n, (4, 5, 6))), ("masks", (picture(n, (4, 5, 6)) > 99) * value)):
            (tmp_path / name).mkdir(exist_ok=True)
            np.save(tmp_path / name / f"v{n}.npy", values)
    with pytest.raises(ValueError, match=words):
        load_masked(data(tmp_path))
    with pytest.raises(ValueError, match="values from 0"):
        data(tmp_path, values=[0, -1])


def test_names_that_differ_in_their_bytes_only_and_masks_without_the_ending_of_the_others(folder):
    new = {form: unicodedata.normalize(form, "zellé") for form in ("NFC", "NFD")}
    (folder / "images" / "c0.png").rename(folder / "images" / f"{new['NFD']}.png")
    (folder / "masks" / "c0.png").rename(folder / "masks" / f"{new['NFC']}.png")
    found = load_masked(data(folder))
    assert len(found) == 6 and new["NFC"] in found.ids
    listed = folder / "split.csv"
    rows = [f"{name},{'test' if n < 2 else 'train'}" for n, name in enumerate(["c1", "c2", "c3", "c4", "c5"])]
    listed.write_text("\n".join(["\ufeffid,part", *rows, f"{new['NFD']},val"]), encoding="utf-8")
    assert [len(rows) for rows in split_masked(found, data(folder, split_path=str(listed)))[0].values()] == [3, 1, 2]
    for file in (folder / "masks").iterdir():
        file.rename(file.with_stem(f"{file.stem}_mask"))
    Image.fromarray(mask(255)).save(folder / "masks" / "other.png")
    with pytest.raises(ValueError, match=r"other.png is a mask whose name does not end in '_mask'"):
        load_masked(data(folder))
    assert len(load_masked(data(folder, on_bad="skip")).rejected) == 1


def test_numbers_of_channels_are_no_part_of_a_name(folder):
    for n, file in enumerate(sorted((folder / "images").iterdir())):
        file.rename(file.with_stem(f"{file.stem}_0000"))
        if n == 4:
            assert find_images(data(folder)).found[0].id == "c0_0000"  # not all have one
    assert (
        load_masked(data(folder)).ids
        == [pair.id for pair in find_images(data(folder)).found]
        == [f"c{n}" for n in range(6)]
    )


def test_tiff_pictures_in_colour_and_of_floating_point(folder):
    Image.fromarray(picture(0)).save(folder / "images" / "c0.tif")
    (folder / "images" / "c0.png").unlink()
    assert (load_masked(data(folder)).images[0].values == picture(0).transpose(2, 0, 1)).all()
    values = picture(0)[..., 0] * np.float32(3) - 99
    Image.fromarray(values).save(folder / "images" / "c0.tif")
    found = read_pixels(folder / "images" / "c0.tif")
    assert (found.values == values[None]).all() and found.spacing == (1.0, 1.0)


@pytest.mark.parametrize("kind", ["nan", "colour"])
def test_pages_that_cannot_be_a_volume(tmp_path, kind):
    pages = [Image.fromarray(picture(n)) for n in range(3)]
    if kind == "nan":
        pages = [Image.fromarray(np.where(n == 1, np.nan, picture(n)[..., 0]).astype(np.float32)) for n in range(3)]
    pages[0].save(tmp_path / "v.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(ValueError, match="not numbers" if kind == "nan" else "several pages in colour"):
        read_pixels(tmp_path / "v.tif")


def header(signs=(1, 1, 1), lengths=(1.0, 2.0, 3.0), turn=None):
    content = bytearray(HEADER)
    struct.pack_into("<i", content, 0, HEADER)
    struct.pack_into("<8f", content, 76, -1.0 if turn else 1.0, *lengths, 1.0, 1.0, 1.0, 1.0)
    if turn is not None:
        struct.pack_into("<2h6f", content, 252, 1, 0, *turn, 5.0, 6.0, 7.0)
        return bytes(content)
    struct.pack_into("<2h", content, 252, 0, 2)
    for row, (sign, length) in enumerate(zip(signs, lengths, strict=True)):
        struct.pack_into("<4f", content, 280 + 16 * row, *(sign * length if n == row else 0.0 for n in range(3)), 0.0)
    return bytes(content)


def volumes(folder, images, masks):
    for n, (own, other) in enumerate(zip(images, masks, strict=True)):
        for name, values, head in (("images", picture(n, (4, 5, 6)), own), ("masks", mask(1)[None, :5, :6], other)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            write_nifti(folder / name / f"v{n}.nii.gz", np.broadcast_to(values, (4, 5, 6)), head)


def test_places_of_volumes(tmp_path):
    assert orientation(header((-1, -1, 1))) == "LPS" and orientation(bytes(HEADER)) == ""
    half = header(turn=(0.0, 0.0, 1.0))  # by 180 degrees around z; z itself the other way round
    assert orientation(half) == "LPI" and np.allclose(place_of(half), [[-1, 0, 0, 5], [0, -2, 0, 6], [0, 0, -3, 7]])
    volumes(tmp_path / "alike", [header()] * 3, [header()] * 2 + [header(lengths=(1.0, 2.0, 3.001))])
    volumes(tmp_path / "turned", [header()] * 3, [header((-1, -1, 1)), header(), header(lengths=(1.0, 2.0, 4.0))])
    volumes(tmp_path / "mixed", [header(), header((-1, 1, 1)), header()], [header(), header((-1, 1, 1)), header()])
    assert notes(tmp_path / "alike") == ""
    assert "than their images, as their headers say: 2 (v0 ...)" in notes(tmp_path / "turned")
    assert "lead to different sides (2 RAS, 1 LAS)" in notes(tmp_path / "mixed")
