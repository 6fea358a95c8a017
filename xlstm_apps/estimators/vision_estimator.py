"""`ViLClassifier`: images to classes in the manner of scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin

from xlstm_apps.core.config import check_options
from xlstm_apps.datasets.images import ImageBatches, ImageData, ImageSet, read_images
from xlstm_apps.estimators.fitted_estimator import FittedEstimator, held_out
from xlstm_apps.estimators.vision_images import Scale, listing_of, scale_of
from xlstm_apps.estimators.vision_plan import plan_vision
from xlstm_apps.estimators.vision_saved import load_vision_model
from xlstm_apps.estimators.vision_scores import features, probabilities
from xlstm_apps.vision.classifier import ImageClassifier
from xlstm_apps.vision.model import VisionLSTM
from xlstm_apps.vision.training_config import AugmentConfig, NetworkConfig


class ViLClassifier(ClassifierMixin, FittedEstimator):
    """Vision-LSTM as a scikit-learn classifier.

    Images are an array [N, H, W], [N, H, W, C], [N, C, H, W] or [N, H * W] (rows of squares), or a list of arrays,
    pictures of Pillow or paths, then of any sizes. Bytes go from 0 to 255; the least and greatest of other numbers are
    learned, and images on quite another scale are refused when predicting.

    Args:
        name: As in `NetworkConfig`; None: by the size of the images.
        from_model: Trained model to go on from: run or model folder, file of published weights, or another estimator.
        head_only: Train the head alone.
        img_size: Size that images are brought to, one number or height and width. None: as in `ImageData`.
        patch_size: As in `NetworkConfig`.
        network: More of `NetworkConfig`, such as `{"num_blocks": 6, "drop_path": 0.1}`.
        augment: Fields of `AugmentConfig`, such as `{"flip": False, "rotate": 10}`. None: none of it but smoothing.
        shape: How other shapes become that one: crop, pad or squash.
        balanced: Every class counts alike.
        max_epochs: Most epochs.
        batch_size: Images per step. None: by their number.
        learning_rate: Peak learning rate. None: 1e-3, or 3e-4 from a trained model.
        weight_decay: Decoupled weight decay.
        patience: Epochs without a better validation loss before training stops. None: never.
        val_fraction: Share of the images that the best epoch is chosen by.
        ema: Share of the average of the weights that stays at every step; 0: none.
        layer_decay: Factor on the learning rate from block to block towards the image.
        accelerator: Device; auto takes a GPU where there is one.
        seed: Seed of everything.
        progress: Show how training goes.
    """

    _model_class = ImageClassifier

    def __init__(
        self,
        name: str | None = None,
        *,
        from_model: Any = None,
        head_only: bool = False,
        img_size: int | tuple[int, int] | None = None,
        patch_size: int | None = None,
        network: Mapping[str, Any] | None = None,
        augment: Mapping[str, Any] | None = None,
        shape: str = "crop",
        balanced: bool = False,
        max_epochs: int = 30,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        weight_decay: float = 0.05,
        patience: int | None = 10,
        val_fraction: float = 0.1,
        ema: float = 0.99,
        layer_decay: float = 1.0,
        accelerator: str = "auto",
        seed: int = 0,
        progress: bool = False,
    ):
        self.name = name
        self.from_model = from_model
        self.head_only = head_only
        self.img_size = img_size
        self.patch_size = patch_size
        self.network = network
        self.augment = augment
        self.shape = shape
        self.balanced = balanced
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.patience = patience
        self.val_fraction = val_fraction
        self.ema = ema
        self.layer_decay = layer_decay
        self.accelerator = accelerator
        self.seed = seed
        self.progress = progress

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803 - scikit-learn's names
        """Train on images and their classes; of every class a share is held out to choose the epoch by.

        Raises:
            ValueError: Images or classes that cannot be used.
        """
        y = np.asarray(y)
        if y.ndim != 1:
            raise ValueError(f"y has the shape {y.shape}; give one class for each image")
        missing = y.dtype.kind == "f" and not np.isfinite(y).all()
        if missing or (y.dtype == object and any(one is None for one in y)):
            raise ValueError("y has missing classes; leave out images whose class is not known")
        if y.dtype.kind == "f" and (y != np.rint(y)).any():
            raise ValueError(f"y holds {y[y != np.rint(y)][0]:g}: classes are names or whole numbers, not quantities")
        try:
            self.classes_, numbers = np.unique(y, return_inverse=True)
        except TypeError:
            raise ValueError("y mixes numbers and strings; give classes of one kind") from None
        if len(self.classes_) < 2:
            raise ValueError(f"y has one class only, {self.classes_.tolist()}; a classifier needs two or more")
        self.scale_ = scale_of(X)
        names = [str(name) for name in self.classes_.tolist()]
        listing = listing_of(X, self.scale_)
        if len(listing.records) != len(y):
            raise ValueError(f"X has {len(listing.records):,} images and y {len(y):,} entries")
        listing.records = [replace(one, label=names[n]) for one, n in zip(listing.records, numbers, strict=True)]
        start = self._start()
        size, channels, known = self.img_size, None, {}
        if isinstance(start, ImageClassifier):
            channels, known = start.model.vision.in_chans, start.images.sizes if size is None else {}
        elif start is not None:
            size, channels = size or start.vision.img_size, start.vision.in_chans
        data = self._data(size)
        images = read_images(listing, data, labelled=True, in_chans=channels, classes=names, **known)
        held = held_out(images.labels, self.val_fraction, self.seed, len(images))
        parts = {"train": np.flatnonzero(~held), "val": np.flatnonzero(held)}
        parts = {name: rows for name, rows in parts.items() if len(rows)}
        plan = plan_vision(
            images,
            parts,
            "held out at random",
            data=data,
            network=self._network(),
            augment=self._augment(),
            fit=self._fit_config(),
            start=start,
            source="from_model",
            head_only=self.head_only,
            balanced=self.balanced,
            ema=self.ema,
            layer_decay=self.layer_decay,
        )
        made, result = plan.train(plan.classifier(self.seed), self.seed, console=self._console())
        assert isinstance(made, ImageClassifier)
        self.model_, self.history_, self.best_epoch_ = made, result.history, result.best_epoch
        return self

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Probability of every class of `classes_`: float32 [N, classes].

        Raises:
            NotFittedError: `fit` was not called.
            ValueError: Something that is no image; names its row or file.
        """
        return probabilities(*self._ready(X))

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """The most probable class of every image."""
        said = self.predict_proba(X)
        return self.classes_[said.argmax(1)]

    def embed(self, X: Any) -> np.ndarray:  # noqa: N803
        """What the head reads: float32 [N, F]."""
        return features(*self._ready(X))

    def _ready(self, X: Any) -> tuple[ImageClassifier, ImageBatches]:  # noqa: N803
        self._check_fitted()
        looks = self.model_.images
        images: ImageSet = read_images(
            listing_of(X, self.scale_),
            self._data(None),
            labelled=False,
            in_chans=self.model_.model.vision.in_chans,
            **looks.sizes,
        )
        return self._on_device(), ImageBatches(images, np.arange(len(images)), looks.fit)

    def _facts(self) -> dict[str, Any]:
        return {
            "classes": self.classes_.tolist(),
            "dtype": self.classes_.dtype.str,
            "scale": asdict(self.scale_),
        }

    def _restore(self, facts: Mapping[str, Any]) -> None:
        self.classes_ = np.array(facts["classes"], dtype=None if facts["dtype"] == "|O" else facts["dtype"])
        self.scale_ = Scale(**facts["scale"])

    def _data(self, size: int | Sequence[int] | None) -> ImageData:
        if self.shape not in ("crop", "pad", "squash"):
            raise ValueError(f"shape is crop, pad or squash, not {self.shape!r}")
        side, sides = (size, None) if size is None or isinstance(size, int) else (None, tuple(size))
        if sides is not None and len(set(sides)) == 1:
            side, sides = sides[0], None
        fit: Any = self.shape
        return ImageData(path=["X"], img_size=side, shape=sides, fit=fit, on_bad="error", memory_gb=16)

    def _start(self) -> Any:
        start = self.from_model
        if isinstance(start, ViLClassifier):
            start._check_fitted()
            return start.model_
        if not isinstance(start, str | Path | ImageClassifier | VisionLSTM | None):
            raise ValueError(f"from_model is a path, a model or a ViLClassifier; not {type(start).__name__}")
        return load_vision_model(start, "cpu") if isinstance(start, str | Path) else start

    def _network(self) -> NetworkConfig:
        options = dict(self.network or {})
        check_options(options, [f.name for f in fields(NetworkConfig)], section="network.")
        for name in ("name", "patch_size"):
            if getattr(self, name) is not None:
                options[name] = getattr(self, name)
        return NetworkConfig(**options)

    def _augment(self) -> AugmentConfig:
        if self.augment is None:
            return AugmentConfig(flip=False, crop_scale=1.0)
        options = dict(self.augment)
        check_options(options, [f.name for f in fields(AugmentConfig)], section="augment.")
        return AugmentConfig(**options)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags
