"""Images as people have them: every odd file is read as it should look, or named and counted; parts do not leak."""

import gzip
import io
import os
import struct
import zlib

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from xlstm_apps.datasets.images import (
    ImageBatches,
    ImageData,
    ImageSource,
    find_images,
    leaks,
    load_images,
    moments,
    read_image,
    split_images,
)
from xlstm_apps.datasets.images.batches import fitted, random_crop
from xlstm_apps.datasets.images.decoding import BadImage, pillow


def picture(seed: int, height=12, width=16, channels=3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def save(path, seed=0, **shape):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(seed, **shape)).save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    """Two classes of ten images."""
    for n in range(20):
        save(tmp_path / "pets" / ("cat", "dog")[n % 2] / f"{n}.png", seed=n)
    return tmp_path / "pets"


def data(path, **options) -> ImageData:
    return ImageData(path=[str(path)], **options)


def test_modes_become_grey_or_rgb(tmp_path):
    rgb = Image.fromarray(picture(0))
    grey = rgb.convert("L")
    cases = {
        "rgb.png": (rgb, 3), "grey.png": (grey, 1), "bits.png": (rgb.convert("1"), 1),
        "palette.gif": (rgb.quantize(8), 3), "ycc.tif": (rgb.convert("YCbCr"), 3), "greys.png": (grey.quantize(8), 1),
        "ink.jpg": (rgb.convert("CMYK"), 3),
    }  # fmt: skip
    for name, (image, channels) in cases.items():
        image.save(tmp_path / name)
        found = read_image(tmp_path / name)
        assert found.pixels.shape == (12, 16, channels) and found.pixels.dtype == np.uint8, name
        assert found.size == (12, 16)
    assert (read_image(tmp_path / "rgb.png").pixels == picture(0)).all()


def test_transparency_lies_on_the_background(tmp_path):
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[:2] = (200, 10, 20, 255)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    white, black = (read_image(tmp_path / "a.png", background=b) for b in ("white", "black"))
    assert white.pixels[3, 3].tolist() == [255] * 3 and black.pixels[3, 3].tolist() == [0] * 3
    assert white.pixels[0, 0].tolist() == [200, 10, 20] and "transparent pixels made white" in white.notes
    grey = Image.fromarray(np.full((4, 4), 7, np.uint8)).convert("LA")
    grey.putalpha(0)
    grey.save(tmp_path / "la.png")
    assert read_image(tmp_path / "la.png").pixels.tolist() == np.full((4, 4, 1), 255).tolist()
    palette = Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4)).convert("P")
    palette.save(tmp_path / "p.gif", transparency=int(np.asarray(palette)[0, 0]))
    assert (read_image(tmp_path / "p.gif").pixels[0, 0] == 255).all()


def test_more_than_eight_bits_are_kept(tmp_path):
    deep = (np.arange(48, dtype=np.uint16) * 40).reshape(6, 8)  # as a microscope of 12 bits: dark, but fine
    Image.fromarray(deep).save(tmp_path / "deep.png")
    found = read_image(tmp_path / "deep.png").pixels
    assert found.dtype == np.float32 and np.allclose(found[..., 0] * 65535, deep, atol=1e-2)
    Image.fromarray(np.linspace(0, 1, 48, dtype=np.float32).reshape(6, 8)).save(tmp_path / "float.tif")
    assert np.allclose(read_image(tmp_path / "float.tif").pixels.ravel(), np.linspace(0, 1, 48))
    Image.fromarray(np.full((3, 3), -7.5, np.float32)).save(tmp_path / "negative.tif")
    with pytest.raises(BadImage, match=r"-7.5 to -7.5; scale all pictures alike"):
        read_image(tmp_path / "negative.tif")


@pytest.mark.parametrize("shorter", [None, 6])
def test_photos_are_turned_upright(tmp_path, shorter):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(0, height=24, width=48)).save(tmp_path / "phone.jpg", exif=exif, quality=95)
    found = read_image(tmp_path / "phone.jpg", shorter=shorter)
    assert found.size == (48, 24) and "turned upright (EXIF)" in found.notes
    assert found.pixels.shape[:2] == ((48, 24) if shorter is None else (12, 6))
    plain = np.asarray(Image.open(tmp_path / "phone.jpg"))
    if shorter is None:
        assert (found.pixels == np.rot90(plain, -1)).all()


def test_broken_exif_spoils_nothing(tmp_path):
    save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    broken = b"Exif\x00\x00II*\x00\xff\xff\xff\x7f" + b"\xff" * 20
    (tmp_path / "b.jpg").write_bytes(
        content[:2] + b"\xff\xe1" + struct.pack(">H", len(broken) + 2) + broken + content[2:]
    )
    with pillow():
        found = read_image(tmp_path / "b.jpg")
    assert (found.pixels == read_image(tmp_path / "a.jpg").pixels).all()


def bad_files(folder):
    """Files that are no pictures, and words of the reason."""
    good = io.BytesIO()
    Image.fromarray(picture(0, height=64, width=64)).save(good, "PNG")
    jpeg = io.BytesIO()
    Image.fromarray(picture(0, height=64, width=64)).save(jpeg, "JPEG")
    cases = {
        "empty.jpg": (b"", "is empty"), "short.png": (good.getvalue()[:3000], "truncated"),
        "short.jpg": (jpeg.getvalue()[:900], "truncated"), "text.jpg": (b"hello, world", "no picture"),
        "page.png": (b"<!DOCTYPE html><html>gone", "a web page"), "paper.jpg": (b"%PDF-1.4 ...", "a PDF file"),
        "head.png": (good.getvalue()[:20], "begins like a PNG picture|truncated|cannot be decoded"),
        "z.tif": (b"II*\0" + bytes(60), "begins like a TIFF picture|cannot be decoded"),
        "zphone.png": (b"\0\0\0\x18ftypheic" + bytes(40), "is a HEIC photo"),
    }  # fmt: skip
    for name, (content, _) in cases.items():
        (folder / name).write_bytes(content)
    (folder / "link.png").symlink_to(folder / "nowhere.png")
    return {name: words for name, (_, words) in cases.items()} | {"link.png": "does not exist"}


def test_bad_files_are_named_and_counted(folder):
    reasons = bad_files(folder / "cat")
    (folder / "dog" / "notes.txt").write_text("mine")
    (folder / "dog" / ".DS_Store").write_bytes(b"x")
    (folder / "bird").mkdir()
    found = load_images(data(folder))
    assert len(found) == 20 and found.classes == ["cat", "dog"] and found.report["images"] == 20 + len(reasons)
    told = {row["path"].rpartition("/")[2]: row["reason"] for row in found.rejected}
    assert set(told) == set(reasons) and sum(found.report["left_out"].values()) == len(reasons)
    for name, words in reasons.items():
        assert any(word in told[name] for word in words.split("|")), (name, told[name])
    notes = " ".join(found.report["notes"])
    assert "class folder bird holds no images" in notes and "1 .txt" in notes
    with pytest.raises(ValueError, match=r"cat/empty.jpg is empty; mend it"):
        load_images(data(folder, on_bad="error"))


def test_a_picture_of_too_many_pixels_is_named(folder, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    save(folder / "cat" / "large.png", height=40, width=40)
    for file in (folder / "cat").glob("?.png"):
        Image.fromarray(picture(int(file.stem), height=12, width=12)).save(file)  # 144: a warning only
    found = load_images(data(folder))
    assert [row["reason"][:15] for row in found.rejected if "large" in row["path"]] == ["has more pixels"]


def test_linked_folders_are_read_once_and_circles_end(folder, tmp_path):
    save(tmp_path / "elsewhere" / "o.png", seed=99)
    (folder / "cat" / "more").symlink_to(tmp_path / "elsewhere")
    (folder / "cat" / "round").symlink_to(folder / "cat")
    (folder / "cat" / "self.png").symlink_to(folder / "cat" / "self.png")
    os.mkfifo(folder / "dog" / "pipe.png")  # opening it would wait for ever
    found = load_images(data(folder))
    assert [name for name in found.ids if "more" in name] == ["cat/more/o.png"] and len(found) == 21
    assert {row["path"].rpartition("/")[2]: row["reason"] for row in found.rejected} == {
        "self.png": "does not exist", "pipe.png": "is not a file",
    }  # fmt: skip


def test_colours_of_sixteen_bits_are_told(tmp_path):
    rows = np.random.default_rng(0).integers(0, 65536, (4, 5, 3)).astype(">u2")
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", 5, 4, 16, 2, 0, 0, 0)
    packed = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    (tmp_path / "deep.png").write_bytes(packed)
    found = read_image(tmp_path / "deep.png")
    assert (found.pixels == rows // 256).all() and found.notes == ("16-bit colours, read as 8 bits",)


def test_folders_that_cannot_be_used(tmp_path, folder):
    with pytest.raises(ValueError, match="no such file or folder"):
        find_images(data(tmp_path / "nowhere"), labelled=True)
    with pytest.raises(ValueError, match=r"no sub-folders, whose names would be the classes; it holds 10 files"):
        load_images(data(folder / "cat"))
    one = tmp_path / "one"
    save(one / "cat" / "1.png")
    save(one / "cat" / "2.png", seed=1)
    with pytest.raises(ValueError, match="one class only, cat"):
        split_images(load_images(data(one)), data(one))
    (tmp_path / "none" / "cat").mkdir(parents=True)
    with pytest.raises(ValueError, match="no images there"):
        load_images(data(tmp_path / "none"))
    bad = tmp_path / "bad"
    (bad / "cat").mkdir(parents=True)
    (bad / "cat" / "x.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"none of 1 files can be read.*x.png is empty"):
        load_images(data(bad))
    save(bad / "dog" / "1.png")
    with pytest.raises(ValueError, match="no image of class cat can be read"):
        load_images(data(bad))
    with pytest.raises(ValueError, match="a single image has no class"):
        load_images(data(folder / "cat" / "0.png"))
    with pytest.raises(ValueError, match=r"data.label_column names a column of a table"):
        load_images(data(folder, label_column="label"))
    with pytest.raises(ValueError, match="sample:digits"):
        load_images(ImageData(path=["sample:cifar"]))


def test_a_table_names_images(folder, tmp_path):
    rows = {"file": [f"pets/{('cat', 'dog')[n % 2]}/{n}.png" for n in range(20)], "label": ["01", "2"] * 10,
            "split": ["train"] * 12 + ["valid"] * 4 + ["test"] * 4}  # fmt: skip
    pl.DataFrame(rows).write_csv(tmp_path / "all.csv")
    pl.DataFrame(rows).write_parquet(tmp_path / "all.parquet")
    pl.DataFrame(rows).write_csv(tmp_path / "all.tsv", separator="\t")
    for name in ("all.csv", "all.parquet", "all.tsv"):
        found = load_images(data(tmp_path / name))
        assert found.classes == ["01", "2"] and (found[3] == picture(3)).all()
        parts, rule = split_images(found, data(tmp_path / name))
        assert [len(parts[p]) for p in ("train", "val", "test")] == [12, 4, 4] and rule == "as the data say"
    with pytest.raises(ValueError, match="no column 'x'; there are file, label, split"):
        load_images(data(tmp_path / "all.csv", label_column="x"))
    (tmp_path / "b.csv").write_text("file,label,part\npets/cat/0.png,cat,train\npets/dog/1.png,,train\n")
    with pytest.raises(ValueError, match=r"b.csv: line 3: no class"):
        load_images(data(tmp_path / "b.csv"))
    (tmp_path / "c.csv").write_text("file,label,part\npets/cat/0.png,cat,trian\n")
    with pytest.raises(ValueError, match=r"line 2: a part is train, val or test, not 'trian'"):
        load_images(data(tmp_path / "c.csv"))
    (tmp_path / "d.csv").write_text("file,label\npets/cat/0.png,cat\npets/gone.png,dog\npets/dog/1.png,dog\n")
    assert load_images(data(tmp_path / "d.csv")).rejected[0]["reason"] == "does not exist"
    (tmp_path / "e.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"no column of paths found; name it with data.path_column, of a, b"):
        load_images(data(tmp_path / "e.csv"))


def test_parts_in_folders(tmp_path, folder):
    for part, names in (("train", range(8)), ("val", range(8, 12)), ("test", range(12, 16))):
        for n in names:
            save(tmp_path / "all" / part / "ab"[n % 2] / f"{n}.png", seed=n)
    found = load_images(data(tmp_path / "all"))
    parts, _ = split_images(found, data(tmp_path / "all"))
    assert found.classes == ["a", "b"] and [len(parts[p]) for p in ("train", "val", "test")] == [8, 4, 4]
    save(tmp_path / "all" / "test" / "c" / "1.png", seed=99)
    found = load_images(data(tmp_path / "all"))
    with pytest.raises(ValueError, match="no training image of class c"):
        split_images(found, data(tmp_path / "all"))
    assert len(find_images(ImageSource(path=[str(folder)]), labelled=False).records) == 20


def test_idx_files(tmp_path):
    def write(name, array, code=8):
        head = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
        content = head + array.tobytes()
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)

    pixels = picture(0, height=10, width=36, channels=1).reshape(10, 6, 6)
    for part, rows in (("train", slice(0, 8)), ("t10k", slice(8, 10))):
        write(f"toy_{part}-images-idx3-ubyte.gz", pixels[rows])
        write(f"toy_{part}-labels-idx1-ubyte.gz", np.arange(10, dtype=np.uint8)[rows] % 2)
    found = load_images(data(tmp_path))
    parts, rule = split_images(found, data(tmp_path, val_fraction=0.25))
    assert [len(parts[p]) for p in ("train", "val", "test")] == [6, 2, 2] and "val drawn from train" in rule
    test = int(parts["test"][0])
    assert (found[test][..., 0] == pixels[8]).all() and found.classes == ["0", "1"]
    (tmp_path / "toy_train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(ValueError, match="no file of labels beside it"):
        load_images(data(tmp_path))
    write("toy_train-labels-idx1-ubyte", np.zeros(3, np.uint8))
    with pytest.raises(ValueError, match="3 labels for 8 images"):
        load_images(data(tmp_path))
    whole = (tmp_path / "toy_t10k-images-idx3-ubyte.gz").read_bytes()
    (tmp_path / "short-images-idx3-ubyte").write_bytes(gzip.decompress(whole)[:-5])
    with pytest.raises(ValueError, match="is cut short: 72 bytes are announced, 67 there"):
        find_images(data(tmp_path / "short-images-idx3-ubyte"), labelled=False)
    (tmp_path / "x-images-idx3-ubyte.gz").write_bytes(whole[:40])
    with pytest.raises(ValueError, match="cannot be read"):
        find_images(data(tmp_path / "x-images-idx3-ubyte.gz"), labelled=False)


def test_random_parts_are_alike_and_do_not_leak(tmp_path, folder):
    for n in range(20):
        kind = ("cat", "dog")[n % 2]
        (folder / kind / f"copy of {n}.png").write_bytes((folder / kind / f"{n}.png").read_bytes())
    found = load_images(data(folder))
    options = data(folder, val_fraction=0.2, test_fraction=0.2)
    parts, rule = split_images(found, options)
    assert "every class alike" in rule and found.report["copies"] == 20
    for rows in parts.values():
        assert found.counts(rows)["cat"] == found.counts(rows)["dog"]
    assert leaks(found, parts) == 0 and sorted(np.concatenate([*parts.values()])) == list(range(40))
    assert all((parts[name] == split_images(found, options)[0][name]).all() for name in parts)
    other, _ = split_images(found, data(folder, val_fraction=0.2, test_fraction=0.2, split_seed=1))
    assert set(other["test"]) != set(parts["test"])
    same, _ = split_images(found, data(folder, val_fraction=0.3, test_fraction=0.2))
    assert set(same["test"]) == set(parts["test"])
    ids = [record.id for record in found.records]
    rows = {"path": [f"pets/{i}" for i in ids], "label": [i[:3] for i in ids], "who": [i.split(" ")[-1] for i in ids]}
    pl.DataFrame(rows).write_csv(tmp_path / "g.csv")
    grouped = data(tmp_path / "g.csv", group_column="who", test_fraction=0.3)
    found = load_images(grouped)
    parts, rule = split_images(found, grouped)
    who = np.array([record.group for record in found.records])
    assert "groups" in rule and not set(who[parts["test"]]) & set(who[parts["train"]])


def test_size_and_channels_are_seen(folder, tmp_path):
    found = load_images(data(folder))
    assert found.reading.img_size == 16 and found.reading.in_chans == 3
    for n in range(4):
        Image.fromarray(picture(n, height=70 + n, width=130, channels=1)[..., 0]).save(
            save(tmp_path / "g" / "ab"[n % 2] / f"{n}.png")
        )
    found = load_images(data(tmp_path / "g"))
    assert found.reading.img_size == 64 and found.reading.in_chans == 1 and found[0].shape == (70, 130, 1)
    assert load_images(data(tmp_path / "g", in_chans=3))[0].shape == (70, 130, 3)
    colour = load_images(data(folder, in_chans=1))
    assert colour[0].shape == (12, 16, 1)
    assert abs(int(colour[0][0, 0, 0]) - picture(0)[0, 0] @ [0.299, 0.587, 0.114]) < 1


def test_memory_changes_nothing(folder):
    options = {"fit": "pad"}
    held, read = load_images(data(folder)), load_images(data(folder, memory_gb=0))
    assert held.pixels is not None and read.pixels is None
    a, b = (ImageBatches(images, range(20), **options).__getitems__([3, 1]) for images in (held, read))
    assert torch.equal(a["pixels"], b["pixels"]) and a["label"].tolist() == [0, 0]
    (folder / "cat" / "0.png").unlink()
    with pytest.raises(ValueError, match="it could be read when the run began"):
        read[0]


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
@pytest.mark.parametrize("shape", [(12, 16), (16, 12), (1, 1), (3, 40), (8, 8)])
def test_any_shape_becomes_a_square(fit, shape):
    image = torch.from_numpy(picture(0, *shape)).permute(2, 0, 1)
    square = fitted(image, (8, 8), fit)
    assert square.shape == (3, 8, 8) and square.dtype == torch.uint8
    if fit == "pad" and shape == (3, 40):
        assert (square[:, 0] == 255).all() and (square[:, -1] == 255).all() and (square[:, 3] != 255).any()


@pytest.mark.parametrize("sides", [(224, 224), (224, 1), (3, 10), (1, 1)])
@pytest.mark.parametrize("shape", [(1, 60_000), (60_000, 1), (1, 9), (2, 17)])
def test_a_line_of_pixels_is_cut_before_it_grows(shape, sides):
    image = torch.linspace(0, 1, 3 * shape[0] * shape[1]).view(3, *shape)
    assert fitted(image, sides, "crop").shape == (3, *sides)  # of 224 x 13 million pixels, if it were scaled first


def test_small_images_that_are_all_alike_keep_their_shape(tmp_path):
    for n in range(4):
        save(tmp_path / "wide" / "ab"[n % 2] / f"{n}.png", seed=n, height=10, width=30)
    reading = load_images(data(tmp_path / "wide")).reading
    assert reading.sides == (10, 30) and reading.shape == (10, 30)
    assert load_images(data(tmp_path / "wide", img_size=12)).reading.sides == (12, 12)


def test_random_crops_follow_the_generator():
    image = torch.from_numpy(picture(0, 20, 30)).permute(2, 0, 1)
    a, b, c = (random_crop(image, (8, 8), 0.2, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c) and a.shape == (3, 8, 8)
    assert random_crop(image[:, :1], (8, 8), 0.5, np.random.default_rng(0)).shape == (3, 8, 8)


def test_moments_are_those_of_all_pixels(folder):
    images = load_images(data(folder))
    batches = ImageBatches(images, range(20), "squash")
    mean, spread = moments(batches)
    x = batches.__getitems__(list(range(20)))["pixels"].double() / 255
    assert np.allclose(mean, x.mean((0, 2, 3))) and np.allclose(spread, x.std((0, 2, 3), correction=0), rtol=1e-4)


def test_the_digits():
    found = load_images(ImageData(path=["sample:digits"]))
    assert len(found) == 1797 and found.classes == list("0123456789") and found.reading.img_size == 8
    parts, _ = split_images(found, ImageData(path=["sample:digits"]))
    assert leaks(found, parts) == 0 and sum(map(len, parts.values())) == 1797
