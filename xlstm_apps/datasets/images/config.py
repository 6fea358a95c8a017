"""The `data` section of vision: which images, their labels, and how they are split. Imports no torch."""

from dataclasses import dataclass
from typing import Literal

from xlstm_apps.choices import check_choices

Fit = Literal["crop", "pad", "squash"]
SAMPLE = "sample:digits"
MOST_SHAPES = 32


@dataclass(frozen=True, kw_only=True)
class ImageSource:
    """Which images to read, and what to do with files that are not as they should be."""

    path: list[str]
    """A folder, files or patterns in quotes (`'photos/*.jpg'`); a table (CSV, TSV, Parquet) with a column of paths;
    IDX files (`train-images-idx3-ubyte.gz`) or a folder of them; or `sample:digits`, the handwritten digits of
    scikit-learn."""

    path_column: str | None = None
    """Tables: column of the paths, relative to the table. None: found by name."""

    on_bad: Literal["skip", "error"] = "skip"
    """Files that cannot be read as a picture (truncated, empty, no picture): `skip` leaves them out, counts and names
    them; `error` stops at the first."""

    def __post_init__(self) -> None:
        check_choices(self, "data.")
        if not self.path:
            raise ValueError("data.path names no image")


@dataclass(frozen=True, kw_only=True)
class LabelledImages(ImageSource):
    """Which images to read, and of which class each is."""

    label_column: str | None = None
    """Tables: column of the classes. None: found by name."""

    part_column: str | None = None
    """Tables: column that says train, val or test. None: the one named part or split, if there is one."""


@dataclass(frozen=True, kw_only=True)
class ImageData(LabelledImages):
    """Images to learn from, and how they are split into training, validation and test.

    Folders: one sub-folder per class, or `train`, `val` and `test` with one sub-folder per class each. Images whose
    pixels are the same stay in one part.
    """

    img_size: int | None = None
    """Width and height that images are brought to. None: those of the images where all are alike and small, else 224
    or less, as large as half of them are."""

    shape: tuple[int, int] | None = None
    """Height and width of a rectangle that images are brought to, in place of the square of `img_size`; for pictures
    that are all wide or all tall."""

    num_shapes: int = 1
    """Rectangles, at most, that images are brought to, each to the one nearest to its own shape: for wide and tall
    pictures in one set. Chosen from the images, of about as many pixels as the square of `img_size`."""

    in_chans: Literal[1, 3] | None = None
    """1: shades of grey, 3: colours. None: 1 where all images are grey."""

    fit: Fit = "crop"
    """How images of other shapes become squares, or those rectangles: `crop` cuts the middle out, `pad` adds a border,
    `squash` changes the shape."""

    background: Literal["white", "black"] = "white"
    """What is behind transparent pixels, and around padded images."""

    group_column: str | None = None
    """Tables: column of the groups that stay in one part, such as a patient or a place."""

    val_fraction: float = 0.15
    """Share of the images for validation, on which the best epoch is chosen, of every class alike. Ignored where the
    data come with a validation part."""

    test_fraction: float = 0.15
    """Share for the test, looked at once, at the end. Ignored where the data come with a test part."""

    split_seed: int = 0
    """Seed of the split; apart from the seed of training, so that several seeds are tested on the same images."""

    memory_gb: float = 2.0
    """Images are held in memory, decoded, where they fit into this many gigabytes; else they are decoded again for
    every batch."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.img_size is not None and self.img_size < 1:
            raise ValueError(f"data.img_size is a number of pixels, 1 or more, not {self.img_size}")
        if self.shape is not None:
            object.__setattr__(self, "shape", tuple(self.shape))  # YAML knows no tuples
            if len(self.shape) != 2 or min(self.shape) < 1:
                raise ValueError(f"data.shape is height and width in pixels, such as 48,96, not {self.shape}")
            if self.img_size is not None:
                raise ValueError("data.shape and data.img_size both say the size of images; give one of them")
        if not 1 <= self.num_shapes <= MOST_SHAPES:
            raise ValueError(f"data.num_shapes is a number of rectangles, 1 to {MOST_SHAPES}, not {self.num_shapes}")
        if self.shape is not None and self.num_shapes > 1:
            raise ValueError("data.shape is one rectangle for all, data.num_shapes asks for several; give one of them")
        for name in ("val_fraction", "test_fraction"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"data.{name} is a share of the images, at least 0 and below 1")
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError("data.val_fraction and data.test_fraction leave nothing to train on")
        if self.split_seed < 0:
            raise ValueError(f"data.split_seed must not be negative, not {self.split_seed}")
        if self.memory_gb < 0:
            raise ValueError(f"data.memory_gb must not be negative, not {self.memory_gb}")
