"""What a trained segmentation model knows of its images, and how training changes them. Imports no torch."""

from dataclasses import dataclass
from typing import Literal

from xlstm_apps.choices import check_choices


@dataclass(frozen=True, kw_only=True)
class SegmentImages:
    """Images and masks as a model was trained with."""

    dims: int
    """2: pictures, 3: volumes."""
    in_chans: int
    """Channels."""
    names: tuple[str, ...]
    """Of the classes, the background first."""
    values: tuple[int, ...]
    """Of these classes in masks."""
    patch_size: tuple[int, ...]
    """Size of the patches in training."""
    masks: Literal["classes", "objects"] = "classes"
    """Whether masks had a value for each class, or one for each object."""
    slices: bool = False
    """Whether volumes are read slice by slice, with a memory that goes on, by a network of two dimensions."""
    mean: tuple[float, ...] | None = None
    """Of every channel over all training images. None: each image is normalised by its own."""
    std: tuple[float, ...] | None = None
    """Standard deviation likewise."""
    spacing: tuple[float, ...] | None = None
    """Length of a pixel in each dimension, where the files do not say it."""
    seen_spacing: tuple[float, ...] | None = None
    """What the files said, of half of the training volumes or more. None: not known, or they are pictures."""
    seen_axes: str = ""
    """Where the axes of most training volumes lead, such as RAS. Empty: not known."""

    def __post_init__(self) -> None:
        check_choices(self)
        for name in ("names", "values", "patch_size", "mean", "std", "spacing", "seen_spacing"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, tuple(value))
        if self.slices and self.dims != 3:
            raise ValueError("slices are of volumes; pictures have none")
        if len(self.names) != len(self.values) or len(self.names) < 2:
            raise ValueError(f"names={self.names} and values={self.values} must be two or more, one for each class")

    @property
    def network_dims(self) -> int:
        """Dimensions of the network."""
        return 2 if self.slices else self.dims


@dataclass(frozen=True, kw_only=True)
class SegmentAugment:
    """Random changes of training patches, of the mask alike where they move pixels."""

    flips: bool = True
    """Mirror in every dimension."""
    turns: bool = True
    """Turn by 90, 180 or 270 degrees in the plane of the picture, where patches are square."""
    rotate: float = 15.0
    """Turn by up to so many degrees, for half of the patches."""
    scale: float = 0.2
    """Enlarge or shrink by up to this share, for half of the patches."""
    brightness: float = 0.2
    """Add up to so many deviations."""
    contrast: float = 0.2
    """Multiply by up to 1 plus or minus this."""
    noise: float = 0.05
    """Deviation of the noise, at most."""

    def __post_init__(self) -> None:
        for name in ("rotate", "scale", "brightness", "contrast", "noise"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"augment.{name}={getattr(self, name)} must not be negative")
        if self.scale >= 1 or self.contrast >= 1:
            raise ValueError(f"augment.scale={self.scale} and augment.contrast={self.contrast} must be below 1")
