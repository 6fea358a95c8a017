"""A state dictionary that is read key by key, so that nothing in it can be overlooked."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn


class Weights:
    """Someone else's tensors. Every key must be taken once; `fill` then refuses what is left, missing or misshapen.

    Args:
        tensors: State dictionary under its original names.
        anchor: A name that every checkpoint of this kind has; whatever stands before it (`model.`, `backbone.`, ...) is
            removed from all names.
        source: Name of the kind, for messages.

    Raises:
        ValueError: No key ends in `anchor`.
    """

    def __init__(self, tensors: Mapping[str, Tensor], anchor: str, source: str) -> None:
        self.source = source
        hits = [key for key in tensors if key == anchor or key.endswith(f".{anchor}")]
        if not hits:
            raise ValueError(
                f"this is no {source} state dict: no key ends in {anchor!r}; the first are {[*tensors][:3]}"
            )
        self.prefix = min(hits, key=len)[: -len(anchor)]
        self._left = dict(tensors)

    def __contains__(self, name: str) -> bool:
        return self.prefix + name in self._left

    def names(self) -> list[str]:
        """Names not taken yet, without the common prefix."""
        return [key.removeprefix(self.prefix) for key in self._left]

    def peek(self, *names: str) -> Tensor:
        """The tensor under the first of these names that is present."""
        name = next((name for name in names if name in self), names[0])
        if name not in self:
            raise ValueError(f"{self.source}: the state dict has no {self.prefix + name!r}")
        return self._left[self.prefix + name]

    def take(self, *names: str) -> Tensor:
        """The same, and mark it as used."""
        tensor = self.peek(*names)
        del self._left[self.prefix + next(name for name in names if name in self)]
        return tensor

    def take_linear(self, *names: str) -> dict[str, Tensor]:
        """`weight`, and `bias` if there is one, of the first of these modules (`name.`) that is present."""
        name = next((name for name in names if f"{name}weight" in self), names[0])
        tensors = {"weight": self.take(f"{name}weight")}
        return tensors | ({"bias": self.take(f"{name}bias")} if f"{name}bias" in self else {})

    def take_head(self, name: str, embedding: Tensor, tied: bool) -> Tensor:
        """The output head, which may be absent where it is tied to the embedding."""
        return embedding if tied and name not in self else self.take(name)

    def fill(self, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        """Load converted tensors into `module`.

        Raises:
            ValueError: A key of the checkpoint was not used, a parameter would stay unset, or shapes differ.
        """
        own = module.state_dict()
        problems = [f"{key} is not used" for key in self._left]
        problems += [f"no value for {name}" for name in own if name not in tensors]
        problems += [f"{name} is no parameter of the model" for name in tensors if name not in own]
        for name, tensor in tensors.items():
            if name in own and own[name].shape != tensor.shape:
                problems.append(f"{name} has shape {[*tensor.shape]} where {[*own[name].shape]} is expected")
        if problems:
            more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""
            raise ValueError(f"{self.source}: state dict and config do not fit: {'; '.join(problems[:5])}{more}")
        module.load_state_dict(tensors)


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under longer names."""
    return {prefix + name: tensor for name, tensor in tensors.items()}
