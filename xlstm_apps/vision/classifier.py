"""A vision model that knows what its images look like and what its outputs are called; saved and loaded as a whole."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.core.pretrained import PretrainedMixin
from xlstm_apps.vision.config import VisionConfig
from xlstm_apps.vision.model import VisionLSTM
from xlstm_apps.vision.streaming import stream_features
from xlstm_apps.vision.training_config import ImagesConfig


class Normalize(nn.Module):
    """Pixels as a network likes them: (x - mean) / std for each channel.

    Args:
        mean: Of every channel.
        std: Standard deviation of every channel.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] from 0 to 1."""
        return (x - self.mean) / self.std


class ImageClassifier(nn.Module, PretrainedMixin):
    """Images to scores of named classes.

    Args:
        vision: Patches, reading order, pooling; its number of classes is that of `images`.
        backbone: The layers.
        images: What its images look like.
    """

    def __init__(self, vision: VisionConfig, backbone: xLSTMConfig, images: ImagesConfig) -> None:
        super().__init__()
        if vision.num_classes != len(images.classes):
            raise ValueError(f"{vision.num_classes} outputs for {len(images.classes)} classes")
        self.images = images
        if not len(images.mean) == len(images.std) == vision.in_chans:
            raise ValueError(f"mean and std of {len(images.mean)} and {len(images.std)} of {vision.in_chans} channels")
        self.normalize = Normalize(images.mean, images.std)
        self.model = VisionLSTM(vision, backbone)

    def forward(self, x: Tensor) -> Tensor:
        """Pixels [B, C, H, W] from 0 to 1, of any size, to class scores [B, classes]."""
        return self.model(self.normalize(x))

    def features(self, x: Tensor) -> Tensor:
        """What the head reads: [B, F]."""
        return self.model.forward_head(self.model.forward_features(self.normalize(x)), pre_logits=True)

    def streamed(self, image: Tensor, *, pre_logits: bool = False) -> Tensor:
        """What `forward`, or with `pre_logits` `features`, gives for one image [C, H, W]: [1, classes] or [1, F]; read
        strip by strip, at bounded memory."""

        def prepare(rows: Tensor) -> Tensor:
            return self.normalize(rows.transpose(0, 1))

        tokens = stream_features(self.model, image.transpose(0, 1), prepare=prepare)
        return self.model.forward_head(tokens[None], pre_logits=pre_logits)

    @classmethod
    def around(cls, model: VisionLSTM, images: ImagesConfig) -> ImageClassifier:
        """A classifier with the weights of a model."""
        vision = dataclasses.replace(model.vision, num_classes=len(images.classes))
        made = cls(vision, model.config, images)
        made.model.load_state_dict(model.state_dict())
        return made
