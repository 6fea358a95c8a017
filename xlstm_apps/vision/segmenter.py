"""A segmentation network together with what it knows of images and masks: pixels in, classes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xlstm_apps.core.pretrained import PretrainedMixin
from xlstm_apps.vision.segment_config import SegmentImages
from xlstm_apps.vision.unet import XLSTMUNet, finest
from xlstm_apps.vision.unet_config import UNetConfig
from xlstm_apps.vision.unet_slices import SliceState, read_slices
from xlstm_apps.vision.windows import Read, flipped_mean, slide

Moments = tuple[Sequence[float], Sequence[float]]


class Segmenter(nn.Module, PretrainedMixin):
    """Finds the class of every pixel of images of any size.

    Args:
        unet: The network.
        images: What it reads and what its classes are.
    """

    def __init__(self, unet: UNetConfig, images: SegmentImages) -> None:
        super().__init__()
        self.images = images
        self.network = XLSTMUNet.from_config(images.network_dims, images.in_chans, len(images.names), unet)

    @property
    def unet(self) -> UNetConfig:
        """How the network is made."""
        return self.network.config

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Normalised images [B, C, *size] -> logits, as `XLSTMUNet`."""
        return self.network(x)

    def probabilities(self, x: Tensor, flips: bool = False) -> Tensor:
        """Normalised images [B, C, *size] -> probabilities [B, K, *size] at full resolution."""

        def once(x: Tensor) -> Tensor:
            logits = read_slices(self.network, x)[0] if self.images.slices else self.network(x)
            return finest(logits).float().softmax(1)

        return flipped_mean(once, x) if flips else once(x)

    def stream(
        self,
        pixels: Any,
        moments: Moments,
        *,
        window: Sequence[int] | None,
        overlap: float = 0.5,
        flips: bool = False,
        batch_size: int = 4,
        precision: torch.dtype | None = None,
    ) -> Iterator[np.ndarray]:
        """Probabilities float32 [K, rows, ...] of an image, slab by slab along its first axis.

        Args:
            pixels: [C, *size], an array or a map of a file of which parts are read.
            moments: Mean and deviation of every channel, by which it is normalised.
            window: As in `windows.slide`, like `overlap` and `batch_size`.
            flips: Average over mirror images.
            precision: Compute in this type where that is safe (autocast). None: in float32.

        A model of slices reads them one by one, each as a whole; windows have no meaning for it.
        """
        device = next(self.parameters()).device
        shape = (-1, *(1,) * self.images.dims)
        mean, std = (torch.tensor([*part], dtype=torch.float32).view(shape) for part in moments)

        def read(box: tuple[slice, ...]) -> Tensor:
            part = torch.from_numpy(np.require(pixels[(slice(None), *box)], np.float32, ["C", "W"]))
            return ((part - mean) / std).to(device)

        if self.images.slices:
            yield from self._stream_slices(read, pixels.shape[1:], flips)
            return

        def predict(x: Tensor) -> Tensor:
            with torch.autocast(device.type, precision or torch.bfloat16, enabled=precision is not None):
                return self.probabilities(x, flips)

        for slab in slide(predict, read, pixels.shape[1:], window, overlap=overlap, batch_size=batch_size):
            yield slab.cpu().numpy()

    @torch.no_grad()
    def _stream_slices(self, read: Read, size: Sequence[int], flips: bool) -> Iterator[np.ndarray]:
        """One slice after the other, whole, with the memory of those before; mirror images each have their own."""
        mirrors = [(), (2,), (3,), (2, 3)] if flips else [()]
        states: list[SliceState | None] = [None] * len(mirrors)
        for number in range(size[0]):
            one = read((slice(number, number + 1), *(slice(0, n) for n in size[1:])))
            total = torch.zeros(())
            for place, axes in enumerate(mirrors):
                logits, states[place] = read_slices(self.network, one.flip(axes)[None], states[place])
                found = finest(logits)[0].float().softmax(0)
                total = total.to(found.device) + found.flip(axes)
            yield (total / len(mirrors)).cpu().numpy()

    def classes(
        self, pixels: Any, moments: Moments, tick: Callable[[int], None] | None = None, **how: Any
    ) -> np.ndarray:
        """The class of every pixel, uint8 [*size]; options as in `stream`.

        Args:
            tick: Called with the number of rows that are done.
        """
        labels = np.empty(pixels.shape[1:], np.uint8)
        first = 0
        for slab in self.stream(pixels, moments, **how):
            labels[first : first + slab.shape[1]] = slab.argmax(0)
            first += slab.shape[1]
            if tick is not None:
                tick(slab.shape[1])
        return labels

    def without_coarse_heads(self) -> Segmenter:
        """The same model with one output only, which is all that prediction needs."""
        if not self.unet.deep_supervision:
            return self
        lean = Segmenter(replace(self.unet, deep_supervision=False), self.images)
        known = lean.state_dict()
        lean.load_state_dict({name: tensor for name, tensor in self.state_dict().items() if name in known})
        return lean.eval()
