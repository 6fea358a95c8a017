"""Residual convolutional network (He et al. 2016), in the form for small images where these are small."""

from __future__ import annotations

from torch import Tensor, nn


class Residual(nn.Module):
    """Two 3 x 3 convolutions and what goes around them."""

    def __init__(self, given: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(given, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip
        self.around = nn.Identity()
        if stride != 1 or given != width:
            self.around = nn.Sequential(nn.Conv2d(given, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.body(x) + self.around(x))


class ResNet(nn.Module):
    """Stages of two residual blocks, each of half the resolution and twice the width, and the mean over places.

    Args:
        in_chans: Channels of the images.
        num_classes: Outputs.
        img_size: Of the images; three stages up to 64 pixels, behind a 3 x 3 convolution, else four behind one of
            7 x 7 that shrinks them to a quarter.
        width: Of the first stage.
    """

    def __init__(self, in_chans: int, num_classes: int, img_size: int, width: int) -> None:
        super().__init__()
        small = img_size <= 64
        if small:
            stem = [nn.Conv2d(in_chans, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        else:
            stem = [nn.Conv2d(in_chans, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
                    nn.MaxPool2d(3, 2, 1)]  # fmt: skip
        layers, given = [*stem], width
        for stage in range(3 if small else 4):
            wide = width * 2**stage
            layers += [Residual(given, wide, 1 if stage == 0 else 2), Residual(wide, wide, 1)]
            given = wide
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(given, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, classes]."""
        return self.head(self.layers(x).mean((2, 3)))
