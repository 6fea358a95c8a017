"""The `search` section of `forecast tune`: what may vary between trials. Imports no torch."""

from dataclasses import dataclass, field
from typing import get_args

from xlstm_apps.forecasting.config import Member


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """What a search may vary; an empty list leaves a setting as it is."""

    context_length: list[int] | None = None
    """Context lengths to try. None: half, twice and four times the one the data suggests, as far as the training part
    allows."""

    learning_rate: list[float] = field(default_factory=lambda: [3e-4, 1e-2])
    """Lowest and highest learning rate."""

    embedding_dim: list[int] = field(default_factory=lambda: [32, 64, 128])
    """Widths of the xLSTM to try."""

    num_blocks: list[int] = field(default_factory=lambda: [1, 2])
    """Numbers of xLSTM blocks to try."""

    dropout: list[float] = field(default_factory=lambda: [0.0, 0.4])
    """Lowest and highest dropout."""

    members: list[str] | None = None
    """Sets of members to try, each joined by `+`, such as `nlinear+patch`. None: all members of the model, all but one,
    and the linear one beside each of the others."""

    def __post_init__(self) -> None:
        for name, lowest in (("learning_rate", 0.0), ("dropout", 0.0)):
            bounds = getattr(self, name)
            if bounds and not (len(bounds) == 2 and lowest <= bounds[0] < bounds[1]):
                raise ValueError(f"search.{name} is its lowest and its highest value, as in 0.01,0.1; not {bounds}")
        if self.learning_rate and not self.learning_rate[0] > 0:
            raise ValueError(f"search.learning_rate must be positive, not {self.learning_rate[0]}")
        if self.dropout and not self.dropout[1] < 1:
            raise ValueError(f"search.dropout must stay below 1, not {self.dropout[1]}")
        known = get_args(Member)
        for members in self.members or []:
            for name in members.split("+"):
                if name not in known:
                    raise ValueError(f"search.members: there is no member '{name}'; there are {', '.join(known)}")
        for name in ("context_length", "embedding_dim", "num_blocks"):
            values = getattr(self, name) or []
            if any(value < 1 for value in values):
                raise ValueError(f"search.{name} must be at least 1, not {min(values)}")
