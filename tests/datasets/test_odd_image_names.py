"""Files, links and tables that a program trips over: names, damage, copies, size."""

import gzip
import io
import os
import struct

import numpy as np
import polars as pl
import pytest
from PIL import Image

from xlstm_apps.datasets.images import (
    BadImage,
    ImageData,
    ImageSource,
    collection,
    find_images,
    load_images,
    read_image,
)
from xlstm_apps.datasets.images.decoding import decode_image


def picture(seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 9, 3)).astype(np.uint8))


@pytest.fixture
def folder(tmp_path):
    for n in range(4):
        file = tmp_path / "pets" / ("cat", "dog")[n % 2] / f"{n}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        picture(n).save(file)
    return tmp_path / "pets"


def ids(path, *, labelled=True):
    source = ImageData if labelled else ImageSource
    return [(one.id, one.label) for one in find_images(source(path=[str(path)]), labelled=labelled).records]


def test_damage_that_pillow_answers_with_errors_of_its_own():
    packed = io.BytesIO()
    picture().save(packed, "DDS")
    content = bytearray(packed.getvalue())
    content[80:84] = bytes(4)  # flags of the format of pixels
    with pytest.raises(BadImage, match=r"cannot be decoded \(Unknown pixel format flags 0\)"):
        decode_image(bytes(content))


def test_a_file_larger_than_any_picture_is_not_read(tmp_path):
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(3 * 10**9)
    with pytest.raises(BadImage, match=r"has 3.0 GB"):
        read_image(tmp_path / "a.png")


def test_names_of_bytes_that_are_no_utf8(folder):
    place = os.fsencode(folder)
    os.rename(place + b"/cat", place + b"/n\xe9")
    with open(place + b"/dog/\xff.png", "wb") as file:
        file.write(b"nothing")
    found = load_images(ImageData(path=[str(folder)]))
    assert found.classes == ["dog", "n\\xe9"] and "n\\xe9/0.png" in found.ids
    assert found.rejected == [{"path": f"{folder}/dog/\\xff.png", "reason": "holds no picture"}]
    assert ids(f"{folder}/n*/0.png", labelled=False) == [(f"{folder}/n\\xe9/0.png", None)]


def test_links_to_folders_around_them(folder):
    before = ids(folder)
    (folder / "cat" / "up").symlink_to("..")
    (folder / "cat" / "here").symlink_to(".")
    (folder / "itself").symlink_to(".")
    (folder / "gone").symlink_to("nowhere")
    (folder / "loop").symlink_to("loop")
    found = find_images(ImageData(path=[str(folder)]), labelled=True)
    assert [(one.id, one.label) for one in found.records] == before  # no dog among the cats
    assert "links that lead nowhere or to a folder around them: gone, itself, loop" in " ".join(found.notes)
    (folder.parent / "more").mkdir()
    picture(9).save(folder.parent / "more" / "9.png")
    (folder / "dog" / "more").symlink_to(folder.parent / "more")
    assert ("dog/more/9.png", "dog") in ids(folder)  # other links are followed


def test_names_that_begin_like_a_home_folder_or_are_too_long(folder):
    rows = ["~$draft.png", "~nobody-of-this-name/1.png", "x" * 5000, "pets\\" + "y" * 5000, "pets/cat/0.png"]
    (folder.parent / "t.csv").write_text("path\n" + "\n".join(rows) + "\n")
    found = load_images(ImageData(path=[str(folder.parent / "t.csv")]), labelled=False)
    assert found.ids == ["pets/cat/0.png"] and len(found.rejected) == 4
    with pytest.raises(ValueError, match=r"data.path ~nobody-of-this-name/1: no such file or folder"):
        ids("~nobody-of-this-name/1")


def test_tables_with_missing_numbers(folder):
    rows = {"path": [f"pets/{('cat', 'dog')[n % 2]}/{n}.png" for n in range(4)], "patient": [1.0, float("nan")] * 2}
    table = folder.parent / "t.parquet"
    pl.DataFrame(rows | {"label": ["a", "b"] * 2}).write_parquet(table)
    found = find_images(ImageData(path=[str(table)], group_column="patient"), labelled=True).records
    assert [one.group for one in found] == ["1.0", None] * 2  # those of no known patient are no group
    pl.DataFrame(rows | {"label": [1.0, 2.0, float("nan"), 2.0]}).write_parquet(table)
    with pytest.raises(ValueError, match="line 4: no class in column 'label'"):
        ids(table)
    (folder.parent / "t.csv").write_text("path,label\npets/cat/0.png,cat\n,\n,dog\n")
    with pytest.raises(ValueError, match="line 4: no path in column 'path'"):
        ids(folder.parent / "t.csv", labelled=False)


def test_idx_files_packed_and_unpacked_are_one(tmp_path):
    def packed(array):
        return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()

    images = packed(np.arange(4 * 9, dtype=np.uint8).reshape(4, 3, 3))
    labels = packed(np.arange(4, dtype=np.uint8))
    (tmp_path / "train-images-idx3-ubyte").write_bytes(images)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    (tmp_path / "._train-images-idx3-ubyte").write_bytes(b"\0\5\x16\7of a Mac")
    found = find_images(ImageData(path=[str(tmp_path)]), labelled=True)
    assert [one.label for one in found.records] == ["0", "1", "2", "3"]
    assert found.notes == ["left out, as they are there unpacked too: train-images-idx3-ubyte.gz"]


def test_few_large_pictures_are_held_at_a_time(folder, monkeypatch):
    held, most = 0, 0

    def read(*args, **options):
        nonlocal held, most
        held += 1
        most = max(most, held)
        return read_image(*args, **options)

    def done(count):
        nonlocal held
        held -= count

    for n in range(40):
        picture(n).save(folder / "cat" / f"more{n}.png")
    monkeypatch.setattr(collection, "read_image", read)
    data = ImageData(path=[str(folder)], memory_gb=0)
    found = collection.read_images(find_images(data, labelled=True), data, labelled=True, whole=True, tick=done)
    assert len(found) == 44 and most <= 8
