"""Odd pictures, folders and tables that would be read as something else without a word."""

import struct
import unicodedata

import numpy as np
import pytest
from PIL import Image

from xlstm_apps.datasets.images import (
    BadImage,
    ImageData,
    ImageSource,
    find_images,
    load_images,
    read_image,
    split_images,
)
from xlstm_apps.datasets.images.decoding import decode_image


def picture(seed=0, size=(6, 9, 3)):
    return np.random.default_rng(seed).integers(0, 256, size).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    for n in range(12):
        file = tmp_path / "pets" / ("cat", "dog")[n % 2] / f"{n}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(n)).save(file)
    return tmp_path / "pets"


def load(path, **options):
    return load_images(ImageData(path=[str(path)], **options))


def tiff(values, kind, photometric=1):
    """A TIFF file of one strip; `kind` 1: whole numbers from 0, 2: signed ones."""
    data, (height, width) = values.tobytes(), values.shape
    entries = [(256, width), (257, height), (258, 8 * values.itemsize), (259, 1), (262, photometric), (273, 8),
               (277, 1), (278, height), (279, len(data)), (339, kind)]  # fmt: skip
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(entries)) + table + bytes(4)


def test_what_pillow_would_show_as_something_else_is_refused():
    grey = picture()[..., 0]
    assert (decode_image(tiff(grey, 1)).pixels[..., 0] == grey).all()
    assert (decode_image(tiff(grey, 1, photometric=0)).pixels[..., 0] == 255 - grey).all()
    for content, words in [
        (tiff(grey.astype("i1"), 2), "signed bytes"),
        (tiff(grey.astype("<u2"), 1, photometric=0), "16 bits in which 0 is white"),
        (bytes(128) + b"DICM" + bytes(40), "DICOM"),
        (b'<?xml version="1.0"?><svg/>', "XML text"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "git lfs pull"),
    ]:
        with pytest.raises(BadImage, match=words):
            decode_image(content)


def deep_tiff(values):
    """A TIFF file of one strip of colours of 16 bits."""
    data, (height, width, _) = values.astype("<u2").tobytes(), values.shape
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, 8 + len(data)), (259, 3, 1, 1), (262, 3, 1, 2),
               (273, 4, 1, 8), (277, 3, 1, 3), (278, 4, 1, height), (279, 4, 1, len(data))]  # fmt: skip
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    bits = struct.pack("<HHH", 16, 16, 16)
    start = struct.pack("<I", 8 + len(data) + len(bits))
    return b"II*\0" + start + data + bits + struct.pack("<H", len(entries)) + table + bytes(4)


def ppm(kind, values, top):
    """A PPM file, as numbers (P6) or as text (P3)."""
    body = values.astype(">u2" if top > 255 else "u1").tobytes()
    return f"{kind} 9 6 {top}\n".encode() + (body if kind == "P6" else " ".join(map(str, values.ravel())).encode())


def test_colours_of_sixteen_bits_are_told_whatever_the_format():
    values, told = picture().astype(np.int64), ("16-bit colours, read as 8 bits",)
    for content, notes in [
        (deep_tiff(values * 257), told),
        *((ppm(kind, values * 257, 65535), told) for kind in ("P3", "P6")),
        *((ppm(kind, values, 255), ()) for kind in ("P3", "P6")),
    ]:
        found = decode_image(content)
        assert (found.pixels == values).all() and found.notes == notes


@pytest.mark.parametrize("top", [200.0, 1.5])
def test_floating_point_is_not_scaled_by_each_pictures_own_range(tmp_path, top):
    Image.fromarray(np.linspace(0, top, 54, dtype=np.float32).reshape(6, 9)).save(tmp_path / "a.tif")
    with pytest.raises(BadImage, match=f"from 0 to {top:g}; scale all pictures alike to 0 to 1"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("name", "orientation", "size"), [("a.tif", 6, (9, 6)), ("a.png", 6, (9, 6)), ("a.jpg", 99, (6, 9))]
)
def test_the_told_size_is_that_of_the_pixels(tmp_path, name, orientation, size):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture()).save(tmp_path / name, exif=exif)
    found = read_image(tmp_path / name)
    assert found.size == size == found.pixels.shape[:2] and bool(found.notes) == (orientation == 6)


def test_folders_of_parts_are_not_taken_for_classes(folder, tmp_path):
    for part in ("train", "test"):
        (tmp_path / "set" / part).mkdir(parents=True)
        for name in ("cat", "dog"):
            (tmp_path / "set" / part / name).mkdir()
            Image.fromarray(picture(len(part + name))).save(tmp_path / "set" / part / name / "1.png")
    (tmp_path / "set" / "labels").mkdir()
    (tmp_path / "set" / "labels" / "1.xml").write_text("<a/>")
    found = load(tmp_path / "set")
    assert found.classes == ["cat", "dog"] and "without images: labels" in " ".join(found.report["notes"])
    Image.fromarray(picture()).save(tmp_path / "set" / "labels" / "1.png")
    with pytest.raises(ValueError, match="look like parts of the data, and labels beside them holds files"):
        load(tmp_path / "set")
    (folder / "test").mkdir()
    Image.fromarray(picture(99)).save(folder / "test" / "1.png")
    assert load(folder).classes == ["cat", "dog", "test"]  # one such folder may be a class


def test_classes_one_folder_too_deep(folder):
    outer = ImageData(path=[str(folder.parent)])
    with pytest.raises(ValueError, match=r"one class only, pets; .*if cat, dog are the classes, give the folder pets"):
        split_images(load_images(outer), outer)


def test_classes_by_their_letters(folder):
    cat = folder / "cat"
    cat.rename(folder / unicodedata.normalize("NFD", "kätzchen"))
    Image.fromarray(picture(99)).save(folder / "dog" / "99.png")
    (folder / "Dog").mkdir()
    Image.fromarray(picture(98)).save(folder / "Dog" / "98.png")
    found = load(folder)
    assert found.classes == ["Dog", "dog", unicodedata.normalize("NFC", "kätzchen")]
    assert "upper and lower case only: Dog, dog" in " ".join(found.report["notes"])


def rows(ending="\n", slash="/"):
    return ending.join(f"pets{slash}{('cat', 'dog')[n % 2]}{slash}{n}.png,{('cat', 'dog')[n % 2]}" for n in range(12))


@pytest.mark.parametrize(
    "content",
    [
        ("path,label\n" + rows()).encode("utf-16"),
        ("path,label\r" + rows("\r")).encode(),
        ("path,label\n" + rows(slash="\\")).encode(),
        ("path,label\n" + rows("\n\n") + "\n\n,\n").encode(),
        ("\ufeffpath,label,,\r\n" + rows(",,\r\n") + ",,").encode(),
    ],
)
def test_tables_from_elsewhere(folder, content):
    (folder.parent / "t.csv").write_bytes(content)
    found = load(folder.parent / "t.csv")
    assert len(found) == 12 and found.classes == ["cat", "dog"] and not found.rejected
    split_images(found, ImageData(path=["t.csv"]))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("path,label,label\n" + rows(",x\n") + ",x", "2 columns are called 'label'; rename"),
        ("path,label\n" + rows() + "\nx.png,cow", "no image of class cow can be read: .*x.png does not exist"),
    ],
)
def test_tables_that_cannot_be_meant(folder, content, words):
    (folder.parent / "t.csv").write_text(content)
    with pytest.raises(ValueError, match=words):
        load(folder.parent / "t.csv")


def test_files_of_one_name_in_several_folders_are_told_apart(folder):
    Image.fromarray(picture(77)).save(folder / "dog" / "0.png")
    found = find_images(ImageSource(path=[str(folder / "cat"), str(folder / "dog")]), labelled=False).records
    names = [record.id for record in found]
    assert len({*names}) == 13 and {str(folder / "cat" / "0.png"), str(folder / "dog" / "0.png"), "1.png"} <= {*names}
    (folder.parent / "t.csv").write_text("path\npets/cat/0.png\npets/cat/0.png\n")
    twice = find_images(ImageSource(path=[str(folder.parent / "t.csv")]), labelled=False).records
    assert [record.id for record in twice] == ["pets/cat/0.png"] * 2
