"""The networks beside the xLSTM, as plain data, and how wide they are for as many parameters. Imports no torch."""

from dataclasses import dataclass, replace
from typing import Literal

from xlstm_apps.biosequence.config import SequenceConfig
from xlstm_apps.choices import check_choices

_STEP = 8  # widths are multiples of this, which suits matrix units


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """A residual stack, normalised before every layer, of LSTM layers or of Transformer blocks."""

    family: Literal["lstm", "transformer"] = "transformer"
    """`transformer`: attention with rotary positions, then a SwiGLU feed-forward (Touvron et al. 2023, "LLaMA");
    `lstm`: LSTM layers (Hochreiter & Schmidhuber 1997), each followed by a projection to the residual stream."""
    embedding_dim: int = 128
    """Width of the residual stream."""
    num_blocks: int = 4
    """Number of LSTM layers or Transformer blocks."""
    num_heads: int = 4
    """Transformer: heads of the attention."""
    hidden_dim: int = 344
    """Units of an LSTM layer, of each direction where there are two; width of the feed-forward of a Transformer."""
    direction: Literal["causal", "bidirectional"] = "causal"
    """`causal`: a symbol sees those before it; `bidirectional`: all."""
    dropout: float = 0.0
    """Probability of dropping an element of a layer's output before it is added to the residual stream."""

    def __post_init__(self) -> None:
        check_choices(self)
        for name in ("embedding_dim", "num_blocks", "num_heads", "hidden_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout} must lie in [0, 1)")
        if self.family == "transformer" and self.embedding_dim % (2 * self.num_heads):
            raise ValueError(
                f"embedding_dim={self.embedding_dim} must be a multiple of twice num_heads={self.num_heads}: rotary "
                "positions turn pairs of features"
            )


def parameter_count(config: NetworkConfig, vocab_size: int, tie_weights: bool = False) -> int:
    """Weights of a model of sequences with these layers."""
    E, D = config.embedding_dim, config.hidden_dim  # noqa: N806
    if config.family == "transformer":
        block = 4 * E * E + 3 * E * D + 2 * E
    else:
        ways = 2 if config.direction == "bidirectional" else 1
        block = ways * (4 * D * (E + D + 2) + D * E) + E
    return config.num_blocks * block + E + (1 if tie_weights else 2) * vocab_size * E


def matched(
    config: NetworkConfig, parameters: int, vocab_size: int, sequence: SequenceConfig | None = None
) -> NetworkConfig:
    """The same stack, as wide as makes this many parameters.

    Args:
        config: All but the widths is kept.
        parameters: Of the whole model, embedding and head with it.
        vocab_size: Number of ids.
        sequence: Tells whether embedding and head share their weights; None: they do not.

    Raises:
        ValueError: No width comes within 2 %.
    """
    tied = sequence is not None and sequence.tie_weights
    # The usual shapes: a feed-forward of 8/3 the stream, an LSTM as wide as the stream (half of it each way).
    usual = 8 / 3 if config.family == "transformer" else 0.5 if config.direction == "bidirectional" else 1.0
    step = _STEP * config.num_heads if config.family == "transformer" else _STEP  # heads as attention kernels like them
    found: list[tuple[float, NetworkConfig]] = []
    for width in range(step, 8192 + step, step):
        one, two = (
            parameter_count(replace(config, embedding_dim=width, hidden_dim=n * _STEP), vocab_size, tied)
            for n in (1, 2)
        )
        if one > parameters * 1.02:
            break
        hidden = _solve(config, width, parameters, vocab_size, tied, one, two)
        made = replace(config, embedding_dim=width, hidden_dim=hidden)
        error = abs(parameter_count(made, vocab_size, tied) / parameters - 1)
        ratio = hidden / width / usual
        if error <= 0.02:
            found.append((max(ratio, 1 / ratio) + 10 * error, made))
    if not found:
        raise ValueError(
            f"no {config.family} of {config.num_blocks} blocks has {parameters:,} parameters; change num_blocks"
        )
    return min(found, key=lambda pair: pair[0])[1]


def _solve(config: NetworkConfig, width: int, parameters: int, vocab_size: int, tied: bool, one: int, two: int) -> int:
    """The multiple of `_STEP` whose count comes nearest: bisection, since counts grow with the width."""

    def count(n: int) -> int:
        return parameter_count(replace(config, embedding_dim=width, hidden_dim=n * _STEP), vocab_size, tied)

    low, high = 1, max(2, 2 + (parameters - one) // max(two - one, 1))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) <= parameters else (low, middle)
    return _STEP * min((low, high), key=lambda n: abs(count(n) - parameters))
