"""Measures over whole data sets: sums are gathered batch by batch, nothing is an average of averages."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Confusion:
    """Counts of (true, predicted) pairs of classes."""

    def __init__(self, num_classes: int) -> None:
        self.counts = torch.zeros(num_classes, num_classes, dtype=torch.float64)

    def add(self, truth: Tensor, predicted: Tensor) -> None:
        """Classes [N] each."""
        C = len(self.counts)  # noqa: N806
        pairs = torch.bincount((truth * C + predicted).long().cpu(), minlength=C * C)
        self.counts += pairs.view(C, C)

    @property
    def accuracy(self) -> float:
        """Share that is right; NaN without any."""
        return float(self.counts.trace() / self.counts.sum())

    @property
    def mcc(self) -> float:
        """Matthews correlation coefficient for any number of classes (Gorodkin 2004); 0 where truth or prediction never
        varies."""
        true, predicted, total = self.counts.sum(1), self.counts.sum(0), self.counts.sum()
        covariance = self.counts.trace() * total - (true * predicted).sum()
        spread = (total**2 - true.square().sum()) * (total**2 - predicted.square().sum())
        return float(covariance / spread.sqrt()) if spread > 0 else 0.0


class Correlation:
    """Sums from which Pearson's correlation follows (Chan et al. 1983: means and squares are merged batch by batch)."""

    def __init__(self) -> None:
        self.count, self.mean = 0, torch.zeros(2, dtype=torch.float64)
        self.products = torch.zeros(2, 2, dtype=torch.float64)

    def add(self, truth: Tensor, predicted: Tensor) -> None:
        """Numbers [N] each."""
        if len(truth) == 0:
            return
        batch = torch.stack([truth.detach().double().cpu(), predicted.detach().double().cpu()])
        count, mean = batch.shape[1], batch.mean(1)
        away, shift = batch - mean[:, None], mean - self.mean
        total = self.count + count
        self.products += away @ away.T + torch.outer(shift, shift) * self.count * count / total
        self.mean += shift * count / total
        self.count = total

    @property
    def pearson(self) -> float:
        """Pearson's correlation; 0 where either never varies."""
        spread = float(self.products[0, 0] * self.products[1, 1])
        return float(self.products[0, 1]) / math.sqrt(spread) if spread > 0 else 0.0
