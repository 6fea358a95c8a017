"""The `data` section of segmentation: which images and masks, what their values mean, the split. Imports no torch."""

import re
from dataclasses import dataclass
from typing import Literal

from xlstm_apps.choices import check_choices


@dataclass(frozen=True, kw_only=True)
class SegmentSource:
    """Which images to read."""

    path: str
    """A folder of images, or a folder that holds `images` and `masks` (also `imagesTr` and `labelsTr`); or one file.
    Pictures of any kind; volumes as .nii, .nii.gz, .npy ([depth, height, width], or with channels in front) or TIFF of
    several pages."""

    on_bad: Literal["error", "skip"] = "error"
    """Files that cannot be used: `error` stops at the first; `skip` leaves them out, counts and names them."""

    def __post_init__(self) -> None:
        check_choices(self, "data.")


@dataclass(frozen=True, kw_only=True)
class MaskedImages(SegmentSource):
    """Which images to read, and the mask of each."""

    masks_path: str | None = None
    """Folder of the masks, named as their images, whatever the kind of file. None: `masks` (or `labels`) in `path`."""

    mask_suffix: str | None = None
    """What the name of a mask has behind that of its image, such as `_mask`. None: seen from the names."""

    ignore_value: int | None = None
    """Value of pixels in masks that are neither learned nor scored."""


@dataclass(frozen=True, kw_only=True)
class SegmentData(MaskedImages):
    """Images and masks to learn from, and how they are split into training, validation and test.

    Folders named train, val and test with `images` and `masks` in each are such parts. Images with the same pixels stay
    in one part.
    """

    masks: Literal["classes", "objects"] = "classes"
    """What the values of masks mean: `classes`: one value for each class; `objects`: one for each single object (0 =
    none), of one kind. Objects that touch are then kept apart by a line that counts as background."""

    values: list[int] | None = None
    """Values of the classes in the masks, the background first. None: all that occur."""

    names: list[str] | None = None
    """Names of these classes. None: background and object, or the values."""

    in_chans: Literal[1, 3] | None = None
    """Pictures: 1: shades of grey, 3: colours. None: 1 where all are grey."""

    normalize: Literal["image", "dataset"] = "image"
    """Bring each channel to mean 0 and deviation 1 within every image, or by one mean and deviation for all."""

    patch_size: list[int] | None = None
    """Size of the patches on which training is done, one number for each dimension. None: whole images, up to a
    size that fits the device."""

    slices: bool = False
    """Volumes: read them slice by slice, by a network of two dimensions whose xLSTM remembers the slices before; so
    volumes of any depth are segmented with one slice in memory. False: a network of three dimensions."""

    spacing: list[float] | None = None
    """Length of a pixel in each dimension, such as 5,1,1. None: as the files say, else 1."""

    val_fraction: float = 0.15
    """Share of the images for validation, on which the best epoch is chosen."""

    test_fraction: float = 0.15
    """Share for the test, looked at once, at the end."""

    split_seed: int = 0
    """Seed of the split; apart from the seed of training, so that several seeds are tested on the same images."""

    split_path: str | None = None
    """CSV file with columns id (name of an image, without ending) and part (train, val or test), instead of drawing."""

    group: str | None = None
    """Regular expression for names of images: what it finds (its first group, if it has one) stays in one part, such as
    `^patient\\d+`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("val_fraction", "test_fraction"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"data.{name}={getattr(self, name)} must be at least 0 and below 1")
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError("data.val_fraction and data.test_fraction leave nothing to train on")
        if self.split_seed < 0:
            raise ValueError(f"data.split_seed={self.split_seed} must not be negative")
        if self.values is not None and (len(self.values) < 2 or len(set(self.values)) < len(self.values)):
            raise ValueError(f"data.values={self.values} must be two or more different values, the background first")
        if self.masks == "objects" and (self.values or self.names or self.ignore_value is not None):
            raise ValueError("data.values, data.names and data.ignore_value are for masks of classes, not of objects")
        if self.values is not None and min(self.values) < 0:
            raise ValueError(f"data.values={self.values}: classes have values from 0; leave others out by ignore_value")
        if self.values is not None and self.ignore_value in self.values:
            raise ValueError(f"data.ignore_value={self.ignore_value} is one of data.values")
        if self.names is not None and self.values is not None and len(self.names) != len(self.values):
            raise ValueError(f"data.names has {len(self.names)} entries, data.values has {len(self.values)}")
        if self.names is not None and len(set(self.names)) < len(self.names):
            raise ValueError(f"data.names={self.names}: each class needs a name of its own")
        if self.spacing is not None and not (len(self.spacing) in (2, 3) and all(s > 0 for s in self.spacing)):
            raise ValueError(f"data.spacing={self.spacing} must be two or three positive lengths")
        if self.patch_size is not None and not (len(self.patch_size) in (2, 3) and min(self.patch_size) >= 1):
            raise ValueError(f"data.patch_size={self.patch_size} must be two or three positive whole numbers")
        if self.group is not None:
            try:
                re.compile(self.group)
            except re.error as error:
                raise ValueError(f"data.group={self.group!r} is no regular expression: {error}") from None
