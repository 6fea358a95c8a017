"""Named sizes of published models. Imports no torch."""

from dataclasses import replace

from xlstm_apps.biosequence.config import SequenceConfig
from xlstm_apps.core.config import xLSTMConfig

SIZES: dict[str, xLSTMConfig] = {
    # Widths of the feed-forward: 1.1 times the embedding, rounded down to a multiple of 8, as published.
    "dna-500k": xLSTMConfig(
        embedding_dim=128, num_blocks=6, slstm_at="all", ffn_proj_factor=136 / 128, proj_round_to=8
    ),
    "dna-500k-mlstm": xLSTMConfig(embedding_dim=128, num_blocks=4),
    "dna-2m": xLSTMConfig(embedding_dim=256, num_blocks=6, slstm_at="all", ffn_proj_factor=280 / 256, proj_round_to=8),
    "dna-2m-mlstm": xLSTMConfig(embedding_dim=256, num_blocks=5),
    "prot-26m": xLSTMConfig(embedding_dim=512, num_blocks=16, rotary_base=500_000.0),
    "prot-102m": xLSTMConfig(embedding_dim=1024, num_blocks=16, rotary_base=500_000.0),
}
"""Layers of the models of Bio-xLSTM (Schmidinger et al. 2024) by name. DNA: all sLSTM, as the published ones that share
parameters between the strands are, or all mLSTM. Proteins: mLSTM with rotary positions."""

SMALL = xLSTMConfig(embedding_dim=64, num_blocks=2)
"""Layers of a training where the user names none: minutes on a CPU."""

PREDICTOR = xLSTMConfig(embedding_dim=64, num_blocks=2, direction="alternating", mlstm_proj_factor=1.0, dropout=0.1)
"""The same for predictions about sequences without a trained model: the blocks read both ways in turn."""

RESIDUE_TAPS = 9
"""Width of the convolutions in a predictor of residues where the user names none. On secondary structure, 250 steps
with it leave less loss on validation than 500 steps with the 4 that all other models have."""


BASE_TAPS = 16
"""Width of the convolutions in a causal model of DNA where the user names none. On E. coli, against the 4 that all
other models have, they are worth 0.013 bits per base on validation at 2 million weights, and 0.017 at 60,000."""


def _open(layers: xLSTMConfig) -> bool:
    return layers.family == "xlstm" and layers.conv1d_kernel_size is None


def language_layers(layers: xLSTMConfig, sequence: SequenceConfig) -> xLSTMConfig:
    """The layers of a new language model, with what the user left open."""
    if _open(layers) and sequence.alphabet == "dna" and sequence.objective == "causal":
        return replace(layers, conv1d_kernel_size=BASE_TAPS)
    return layers


def predictor_layers(layers: xLSTMConfig, alphabet: str, per_symbol: bool) -> xLSTMConfig:
    """The layers of a new predictor, with what the user left open."""
    if _open(layers) and per_symbol and alphabet == "protein":
        return replace(layers, conv1d_kernel_size=RESIDUE_TAPS)
    return layers


def named_size(name: str, **options: object) -> xLSTMConfig:
    """The layers of a named size, with options of `xLSTMConfig` changed, such as `direction`.

    Raises:
        ValueError: No size of that name.
    """
    if name not in SIZES:
        raise ValueError(f"no size {name!r}; there are {', '.join(SIZES)}")
    return replace(SIZES[name], **options)  # pyright: ignore[reportArgumentType]
