"""Tables and IDX files of images that are broken: one line that names the file, the place and the mend."""

import struct

import numpy as np
import pytest
from PIL import Image

from xlstm_apps.datasets.images import ImageData, find_images, load_images, split_images


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"path,label\na.png,x\nb.png,y,z\n", r"t.csv: line 3 has 3 cells, and there are 2 columns"),
        (b'path;label\na.png;x\n"b;png";y;z;z\n', r"t.csv: line 3 has 4 cells, and there are 2 columns"),
        ("path,label\na.png,Bär\n".encode("latin-1"), r"t.csv: byte 18 is not UTF-8; save the table as UTF-8"),
        (b"", r"t.csv: not readable as a table"),
        (b"path,label\n", r"t.csv: the table has no rows"),
    ],
)
def test_tables(tmp_path, content, words):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ValueError, match=words):
        find_images(ImageData(path=[str(tmp_path / "t.csv")]), labelled=True)


def packed(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


IMAGES = packed(np.zeros((4, 3, 3), np.uint8))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (IMAGES[:7], "is cut short: it ends before its shape does"),
        (IMAGES[:-1], "is cut short: 36 bytes are announced, 35 there"),
        (IMAGES + b"xx", "is longer than it should be: 36 bytes are announced, 38 there"),
        (b"hello, world", "not an IDX file"),
        (packed(np.zeros((4, 3, 3, 5), np.uint8)), r"holds uint8 of shape \(4, 3, 3, 5\), no images"),
        (b"\x1f\x8bjunk", "cannot be read"),
        (packed(np.zeros((4, 0, 3), np.uint8)), r"holds uint8 of shape \(4, 0, 3\), no images"),
    ],
)
def test_idx(tmp_path, content, words):
    (tmp_path / "a-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(ValueError, match=rf"a-images-idx3-ubyte: {words}"):
        find_images(ImageData(path=[str(tmp_path)]), labelled=False)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (bytes([0, 0, 13, 1]) + struct.pack(">I4f", 4, 0.2, 0.7, 1.2, 1.7), r"holds >f4 of shape \(4,\), no whole"),
        (packed(np.eye(4, dtype=np.uint8)), r"holds uint8 of shape \(4, 4\), no whole numbers \[N\] for labels"),
        (packed(np.zeros(3, np.uint8)), "3 labels for 4 images"),
    ],
)
def test_labels_of_idx_images(tmp_path, labels, words):
    (tmp_path / "a-images-idx3-ubyte").write_bytes(IMAGES)
    (tmp_path / "a-labels-idx1-ubyte").write_bytes(labels)
    with pytest.raises(ValueError, match=f"a-labels-idx1-ubyte: {words}"):
        find_images(ImageData(path=[str(tmp_path)]), labelled=True)


def test_one_class_in_a_table_is_no_folder_too_deep(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        Image.new("L", (4, 4), ord(name)).save(tmp_path / "set" / name / "1.png")
    (tmp_path / "t.csv").write_text("path,label\nset/a/1.png,same\nset/b/1.png,same\n")
    data = ImageData(path=[str(tmp_path / "t.csv")])
    with pytest.raises(ValueError, match=r"one class only, same; .* two or more, each in its own folder$"):
        split_images(load_images(data), data)


def test_a_class_whose_groups_all_went_to_another_part(tmp_path):
    lines = ["path,label,patient"]
    for n in range(12):
        Image.new("L", (4, 4), n).save(tmp_path / f"{n}.png")
        lines.append(f"{n}.png,{'rare' if n == 0 else 'abc'[n % 3]},{n}")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    options = {"path": [str(tmp_path / "t.csv")], "group_column": "patient", "test_fraction": 0.5}
    images = load_images(ImageData(**options))
    said = set()
    for seed in range(12):
        try:
            split_images(images, ImageData(**options, split_seed=seed))
        except ValueError as error:
            said.add(str(error))
    assert any(
        "class rare; all of them went to another part with their groups or copies; try another" in x for x in said
    )
