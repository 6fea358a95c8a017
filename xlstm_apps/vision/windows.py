"""Images larger than a network should see at once: windows that overlap, blended, slab by slab along the first axis."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

Read = Callable[[tuple[slice, ...]], Tensor]
"""The part [C, *size] of an image."""


def starts(length: int, window: int, overlap: float) -> list[int]:
    """Where windows begin so that they cover a length, evenly spread, neighbours sharing at least that part of them."""
    if window >= length:
        return [0]
    step = max(1, int(window * (1 - overlap)))
    count = math.ceil((length - window) / step) + 1
    return [round(n * (length - window) / (count - 1)) for n in range(count)]


def importance(window: Sequence[int]) -> Tensor:
    """How much each place of a window counts: a bell with a deviation of an eighth of the window (as in nnU-Net), and
    at least a thousandth of the most."""
    weight = torch.ones(())
    for length in window:
        place = (torch.arange(length) - (length - 1) / 2) / max(1.0, length / 8)
        weight = weight[..., None] * torch.exp(-0.5 * place**2)
    return weight.clamp(min=1e-3)


@torch.no_grad()
def slide(
    predict: Callable[[Tensor], Tensor],
    read: Read,
    size: Sequence[int],
    window: Sequence[int] | None,
    *,
    overlap: float = 0.5,
    batch_size: int = 4,
) -> Iterator[Tensor]:
    """What a network gives for an image, [K, rows, ...], a slab of rows (of slices) at a time.

    A slab is done when no further window reaches it; memory holds as many rows as a window has.

    Args:
        predict: Parts [B, C, *window] -> [B, K, *window], such as probabilities.
        read: Gives parts of the image on the device to compute on.
        size: Of the image.
        window: Of a part, or what there is of it in a small image. None: the whole image at once.
        overlap: Least share of a window that the next one sees again.
        batch_size: Windows at a time.

    Raises:
        ValueError: An overlap of 1 or more, or a window that does not fit the image.
    """
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap={overlap} must be at least 0 and below 1")
    if window is not None and (len(window) != len(size) or any(n < 1 for n in window)):
        raise ValueError(f"window={[*window]} must be one positive length for each of {len(size)} dimensions")
    window = [*size] if window is None else [min(n, whole) for n, whole in zip(window, size, strict=True)]
    rows, *others = (starts(whole, n, overlap) for whole, n in zip(size, window, strict=True))
    places = [*itertools.product(*others)]
    weight = importance(window)
    total: Tensor | None = None
    weights = torch.zeros(window[0], *size[1:])
    for number, row in enumerate(rows):
        following = rows[number + 1] if number + 1 < len(rows) else size[0]
        for begin in range(0, len(places), batch_size):
            boxes = [
                tuple(slice(first, first + n) for first, n in zip((row, *place), window, strict=True))
                for place in places[begin : begin + batch_size]
            ]
            found = predict(torch.stack([read(box) for box in boxes]))
            weight, weights = weight.to(found.device), weights.to(found.device)
            if total is None:
                total = torch.zeros(found.shape[1], *weights.shape, device=found.device)
            for box, part in zip(boxes, found.float(), strict=True):
                inner = (slice(None), *box[1:])
                total[(slice(None), *inner)] += part * weight
                weights[inner] += weight
        assert total is not None
        done = following - row
        yield total[:, :done] / weights[:done]
        total, weights = _moved_on(total, done, 1), _moved_on(weights, done, 0)


def _moved_on(buffer: Tensor, done: int, axis: int) -> Tensor:
    """Without the rows that are done, and as many empty ones behind."""
    kept = buffer.narrow(axis, done, max(0, buffer.shape[axis] - done))
    empty = torch.zeros_like(buffer.narrow(axis, 0, buffer.shape[axis] - kept.shape[axis]))
    return torch.cat([kept, empty], dim=axis)


def flipped_mean(predict: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The mean of what is predicted for an image and for its mirror images in all dimensions, mirrored back."""
    axes = range(2, x.dim())
    total, count = None, 0
    for number in range(len(axes) + 1):
        for chosen in itertools.combinations(axes, number):
            found = predict(x.flip(chosen)).flip(chosen) if chosen else predict(x)
            total, count = found if total is None else total + found, count + 1
    assert total is not None
    return total / count
