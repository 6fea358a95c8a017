"""The networks that the sequence benchmarks compare, of equal size; imports neither tables nor file readers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

NETWORKS = (
    "xlstm", "xlstm-mlstm", "xlstm-wide", "xlstm-mixed", "xlstm-mixed-wide", "xlstm-slstm", "lstm", "transformer"
)  # fmt: skip
WIDE = 16  # symbols that a convolution sees where the name says so
SIZES = ("65k", "500k", "2m", "7m", "86m")
LSTM_LAYERS = 3  # as LSTM language models have; deeper ones only read more slowly
DEFAULT = "xlstm-mlstm"  # what `xlstm` stands for: the lowest bits in trials on one core


def build(
    name: str, size: str, objective: str = "causal", symmetry: str = "none", alphabet: str = "dna"
) -> tuple[Any, int]:
    """A network and how many parameters it has.

    All mLSTM blocks: the published size, or the one trained where the user names none (65k). The others have as many
    blocks (an LSTM at most three) and within 2 % as many parameters: an xLSTM through the width of its feed-forward,
    the others through their widths.

    Raises:
        ValueError: That is not so: `xlstm-wide` below 2m, whose taps nothing makes up for.
    """
    from xlstm_apps.biosequence.alphabets import get_alphabet
    from xlstm_apps.biosequence.baselines.network_config import NetworkConfig, matched
    from xlstm_apps.biosequence.baselines.networks import NetworkModel
    from xlstm_apps.biosequence.config import SequenceConfig
    from xlstm_apps.biosequence.model import SequenceModel
    from xlstm_apps.core.size import count_weights

    direction = "causal" if objective == "causal" else "bidirectional"
    sequence = SequenceConfig(alphabet=alphabet, objective=objective, symmetry=symmetry)
    target = _count(stack(size), alphabet)
    if name in ("lstm", "transformer"):
        blocks = stack(size).num_blocks
        blocks = min(blocks, LSTM_LAYERS) if name == "lstm" else blocks
        heads = {"86m": 12, "7m": 8}.get(size, 4)
        layers = NetworkConfig(
            family=name, embedding_dim=2 * heads, num_blocks=blocks, num_heads=heads, direction=direction
        )
        model = NetworkModel(sequence, matched(layers, target, len(get_alphabet(alphabet)), sequence))
    else:
        model = SequenceModel(
            sequence, replace(_xlstm(DEFAULT if name == "xlstm" else name, size, alphabet), direction=direction)
        )
    count = count_weights(model)
    if abs(count / target - 1) > 0.02:
        raise ValueError(f"{name} of {size} has {count:,} parameters, {count / target - 1:+.1%} of the others")
    return model, count


def stack(size: str) -> Any:
    from xlstm_apps.biosequence.sizes import SMALL, named_size

    if size == "65k":
        return SMALL
    if size == "7m":
        return replace(named_size("dna-2m-mlstm"), embedding_dim=512, num_blocks=4, num_heads=8)
    if size == "86m":
        return replace(named_size("dna-2m-mlstm"), embedding_dim=768, num_blocks=24, num_heads=4)
    return named_size(f"dna-{size}-mlstm")


def _xlstm(name: str, size: str, alphabet: str) -> Any:
    layers, target = stack(size), _count(stack(size), alphabet)
    if name.endswith("-wide"):
        layers = replace(layers, conv1d_kernel_size=WIDE)
    if name in ("xlstm-mlstm", "xlstm-wide"):
        return layers
    # mixed: every other block; where their number is odd, one more mLSTM
    at = "all" if name == "xlstm-slstm" else tuple(range(1, layers.num_blocks, 2))
    return _with_feed_forward(replace(layers, slstm_at=at, proj_round_to=8), alphabet, target)


def _with_feed_forward(layers: Any, alphabet: str, target: int) -> Any:
    """The width of the sLSTM blocks' feed-forward that comes nearest to a number of parameters."""
    base = _count(replace(layers, ffn_proj_factor=8 / layers.embedding_dim), alphabet)
    per_step = _count(replace(layers, ffn_proj_factor=16 / layers.embedding_dim), alphabet) - base
    steps = max(1, 1 + round((target - base) / per_step))
    return replace(layers, ffn_proj_factor=8 * steps / layers.embedding_dim)


def _count(layers: Any, alphabet: str) -> int:
    import torch

    from xlstm_apps.biosequence.config import SequenceConfig
    from xlstm_apps.biosequence.model import SequenceModel
    from xlstm_apps.core.size import count_weights

    with torch.device("meta"):
        return count_weights(SequenceModel(SequenceConfig(alphabet=alphabet), layers))
