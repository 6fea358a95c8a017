"""What can be said of a pixel from its brightness and that around it: the least a network has to beat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from xlstm_apps.datasets.images.segmentation_patches import Moments, normalised, own_moments
from xlstm_apps.datasets.images.segmentation_set import SegmentSet

SIGMAS = (1.0, 2.0, 4.0, 8.0)
PER_CLASS = 400
"""Pixels of each class that are taken from an image."""


class PixelClassifier:
    """Logistic regression on smoothed brightness and steepness at several scales, pixel by pixel."""

    def __init__(self, pipeline: Pipeline, moments: Moments | None, classes: int) -> None:
        self.pipeline, self.moments, self.classes = pipeline, moments, classes

    @classmethod
    def fit(
        cls, images: SegmentSet, indices: Sequence[int] | np.ndarray, moments: Moments | None = None, seed: int = 0
    ) -> PixelClassifier:
        """Learn from some pixels of each image."""
        generator = np.random.default_rng(seed)
        features, labels = [], []
        for index in indices:
            label = images.labels[int(index)].reshape(-1)
            found = _features(images.pixels(int(index)), moments).reshape(len(label), -1)
            for number in np.unique(label[label >= 0]):
                places = np.flatnonzero(label == number)
                taken = generator.choice(places, min(PER_CLASS, len(places)), replace=False)
                features.append(found[taken])
                labels.append(np.full(len(taken), number))
        pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        pipeline.fit(np.concatenate(features), np.concatenate(labels))
        return cls(pipeline, moments, len(images.meaning.names))

    def classes_of(self, pixels: np.ndarray) -> np.ndarray:
        """The class of every pixel of an image [C, *size]."""
        features = _features(pixels, self.moments)
        return self.pipeline.predict(features.reshape(-1, features.shape[-1])).reshape(pixels.shape[1:])

    @property
    def parameters(self) -> int:
        """Number of weights."""
        model = self.pipeline[-1]
        return model.coef_.size + model.intercept_.size


def _features(pixels: np.ndarray, moments: Moments | None) -> np.ndarray:
    """[*size, F]."""
    columns = []
    for channel in normalised(pixels, moments or own_moments(pixels)):
        columns.append(channel)
        for sigma in SIGMAS:
            smooth = ndimage.gaussian_filter(channel, sigma)
            columns += [smooth, ndimage.gaussian_gradient_magnitude(channel, sigma)]
    return np.stack(columns, axis=-1)
