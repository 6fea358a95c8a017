"""Sections of vision recipes: the network by name, augmentation, and what a classifier knows of images. No torch."""

from dataclasses import dataclass
from typing import Any, Literal

from xlstm_apps.choices import check_choices
from xlstm_apps.vision.config import Pooling, Scan

PATCHES_ACROSS = 14
"""Patches from side to side, roughly, where their size is left open."""


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Which network: one of `xlstm_apps.vision.list_models()`, with changes. What is left open is as in that one."""

    name: str | None = None
    """Such as vil_tiny, vil_small or vil_mlp_tiny. None: vil_pico for images up to 16 pixels, else vil_nano."""

    patch_size: int | None = None
    """Pixels across a patch. None: about 14 patches across an image, 4 across one of 8 pixels."""

    embedding_dim: int | None = None
    """Width."""

    num_blocks: int | None = None
    """Number of blocks."""

    num_heads: int | None = None
    """Heads of the mLSTM."""

    scan: Scan | None = None
    """Order in which blocks read the patches."""

    pooling: Pooling | None = None
    """How patches become features of the image."""

    drop_path: float | None = None
    """Probability of leaving out a layer for an image in training."""

    dropout: float | None = None
    """Probability of dropping an element of what a layer adds."""

    def __post_init__(self) -> None:
        check_choices(self, "network.")

    def options(self) -> dict[str, Any]:
        """What `create_model` is told, beside name, sizes and classes."""
        names = {"drop_path": "drop_path_rate"}
        fields = ("embedding_dim", "num_blocks", "num_heads", "scan", "pooling", "drop_path", "dropout")
        found = {names.get(field, field): getattr(self, field) for field in fields}
        return {name: value for name, value in found.items() if value is not None}

    def named(self, img_size: int) -> str:
        """The name, chosen by the size of the images where it is left open."""
        return self.name or ("vil_pico" if img_size <= 16 else "vil_nano")

    def patch(self, img_size: int) -> int:
        """The size of a patch, chosen by the size of the images where it is left open."""
        if self.patch_size is not None:
            return self.patch_size
        return max(2, round(img_size / PATCHES_ACROSS)) if img_size > 4 else 1


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How training images are changed at random, so that the network learns what does not matter."""

    crop_scale: float | None = None
    """Smallest share of an image that is cut out (random resized crop). None: 0.35 for images above 64 pixels, else
    whole images."""

    flip: bool = True
    """Left and right change places in half of the images; not for digits, text or organs."""

    rotate: float = 0.0
    """Most degrees of a turn, either way."""

    shift: float = 0.0
    """Farthest move, as a share of the image, either way."""

    zoom: float = 0.0
    """Most relative change of size: 0.1 is 10 % larger or smaller; half of it also in height alone."""

    shear: float = 0.0
    """Most slant, as a share of the height."""

    jitter: float = 0.0
    """Most relative change of brightness, contrast and saturation."""

    three_augment: bool = False
    """To each image one of grey, solarised or blurred (Touvron et al. 2022, "DeiT III")."""

    erasing: float = 0.0
    """Probability that a rectangle of an image is covered (Zhong et al. 2020)."""

    mixup: float = 0.0
    """Parameter of the beta distribution by which two images are blended (Zhang et al. 2018); 0: never."""

    cutmix: float = 0.0
    """The same for a rectangle of one image put into another (Yun et al. 2019); 0: never. With both, either one at
    random."""

    mix_probability: float = 1.0
    """Share of the batches that are blended, where mixup or cutmix is on."""

    label_smoothing: float = 0.1
    """Share of a target that is spread over all classes."""

    def __post_init__(self) -> None:
        if self.crop_scale is not None and not 0 < self.crop_scale <= 1:
            raise ValueError(f"augment.crop_scale is a share of an image, above 0 and at most 1, not {self.crop_scale}")
        for name in ("shift", "zoom", "shear", "jitter", "erasing", "mix_probability", "label_smoothing"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"augment.{name} lies between 0 and 1, not at {getattr(self, name)}")
        if self.label_smoothing == 1 or self.zoom == 1:
            name = "zoom" if self.zoom == 1 else "label_smoothing"
            raise ValueError(f"augment.{name} must stay below 1")
        if not 0 <= self.rotate <= 180:
            raise ValueError(f"augment.rotate lies between 0 and 180 degrees, not at {self.rotate}")
        for name in ("mixup", "cutmix"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"augment.{name} must not be negative, not {getattr(self, name)}")

    def crop(self, img_size: int) -> float | None:
        """`crop_scale`, chosen by the size of the images where it is left open."""
        return (0.35 if img_size > 64 else None) if self.crop_scale is None else self.crop_scale


@dataclass(frozen=True, kw_only=True)
class ImagesConfig:
    """What a classifier knows of the images it was trained on, saved with it."""

    classes: tuple[str, ...]
    """Names, in the order of the outputs."""

    img_size: int
    """Width and height that images are brought to."""

    shape: tuple[int, int] | None = None
    """Height and width that they are brought to instead, where these are no squares."""

    shapes: tuple[tuple[int, int], ...] = ()
    """Where there are several: height and width of each, the first as in `shape`; images are brought to the nearest."""

    fit: Literal["crop", "pad", "squash"] = "crop"
    """How other shapes become that one."""

    background: Literal["white", "black"] = "white"
    """What is behind transparent pixels, and around padded ones."""

    mean: tuple[float, ...] = (0.5,)
    """Of every channel, of pixels from 0 to 1."""

    std: tuple[float, ...] = (0.5,)
    """Standard deviation of every channel."""

    def __post_init__(self) -> None:
        check_choices(self)
        for name in ("classes", "mean", "std", "shape"):  # JSON knows no tuples
            if getattr(self, name) is not None:
                object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "shapes", tuple(tuple(shape) for shape in self.shapes))

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width."""
        return self.shape or (self.img_size, self.img_size)

    @property
    def sizes(self) -> dict[str, Any]:
        """What images are brought to, as `read_images` takes it."""
        return {"img_size": self.img_size, "shape": self.shape, "shapes": self.shapes}
