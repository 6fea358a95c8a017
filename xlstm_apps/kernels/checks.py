"""What all operations ask of their tensors."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def check_floats(tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are not floating point, or not on the device of the first one, with a ValueError."""
    first, device = "", None
    for name, x in tensors.items():
        if not x.dtype.is_floating_point:
            raise ValueError(f"{name} must be of a floating-point type, not {x.dtype}")
        if device is None:
            first, device = name, x.device
        elif x.device != device:
            raise ValueError(f"{name} is on {x.device} but {first} is on {device}: move them to one device")
