"""What an xLSTM backbone looks like, as plain data. Imports no torch, so that `--help` stays instant."""

import dataclasses
import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from xlstm_apps.choices import check_choices

Activation = Literal["gelu", "silu", "relu", "relu^2", "sigmoid", "selu"]
ACTIVATIONS: tuple[str, ...] = get_args(Activation)

# Options left at None take the value of the published family. An option absent here does not exist in that family.
FAMILY_DEFAULTS: dict[str, dict[str, Any]] = {
    "xlstm": {
        "norm_eps": 1e-5,
        "ffn_proj_factor": 1.3,
        "ffn_activation": "gelu",
        "conv1d_kernel_size": 4,
        "qkv_bias": None,
        "qkv_block_size": 4,
        "mlstm_proj_factor": 2.0,
        "rotary_base": None,
    },
    "xlstm-large": {
        "norm_eps": 1e-6,
        "ffn_proj_factor": 2.667,
        "ffn_activation": "silu",
        "qk_dim_factor": 0.5,
        "v_dim_factor": 1.0,
        "gate_soft_cap": 15.0,
    },
}


def check_options(given: Iterable[str], known: Sequence[str], section: str = "") -> None:
    """Refuse names that are no options, with a ValueError that says which were meant."""
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"the options are {', '.join(known)}"
            raise ValueError(f"unknown option {section + name!r}; {hint}")


@dataclass(frozen=True, kw_only=True)
class xLSTMConfig:
    """A residual stack of mLSTM and sLSTM blocks in one of the two published families.

    Sources: Beck et al. 2024, "xLSTM: Extended Long Short-Term Memory" (family "xlstm"); Beck et al. 2025,
    "xLSTM 7B: A Recurrent LLM for Fast and Efficient Inference" (family "xlstm-large").
    """

    family: Literal["xlstm", "xlstm-large"] = "xlstm"
    """Block design: "xlstm" (LayerNorm, convolution, up-projection around the mLSTM) or "xlstm-large" (the 7B design:
    RMSNorm, soft-capped gates, a SwiGLU feed-forward after every layer)."""
    embedding_dim: int = 128
    """Width of the residual stream: inputs and outputs are [batch, time, embedding_dim]."""
    num_blocks: int = 4
    """Number of residual blocks."""
    num_heads: int = 4
    """Number of heads of every mLSTM and sLSTM layer."""
    slstm_at: tuple[int, ...] | Literal["all"] = ()
    """Indices (from 0) of the blocks that are sLSTM; the others are mLSTM. "all" makes every block sLSTM."""
    direction: Literal["causal", "bidirectional", "alternating"] = "causal"
    """Reading order: "causal"; "bidirectional" (every block runs both ways with the same weights, results added);
    "alternating" (blocks 0, 2, 4, ... read backwards). Only "causal" can be stepped or carry a state."""
    dropout: float = 0.0
    """Probability of dropping an element of a layer's output before it is added to the residual stream."""
    bias: bool = False
    """Biases in the projections of the mLSTM (gates always have one)."""
    ffn_bias: bool | None = None
    """Biases in the feed-forward. None: as `bias`."""
    qkv_bias: bool | None = None
    """Family "xlstm": biases in the query, key and value projections. None: as `bias`."""
    norm_bias: bool = False
    """Biases in the normalisations."""
    norm_eps: float | None = None
    """Added to variances. None: 1e-5 ("xlstm") or 1e-6 ("xlstm-large")."""
    final_norm: bool = True
    """Normalise after the last block."""
    cell_eps: float = 1e-6
    """Added to the denominator of the mLSTM."""
    conv1d_kernel_size: int | None = None
    """Family "xlstm": taps of the causal depthwise convolution before queries, keys and gates; 0 = none. None: 4."""
    slstm_conv1d_kernel_size: int | None = None
    """The same for sLSTM blocks only. None: as `conv1d_kernel_size`."""
    slstm_num_heads: int | None = None
    """Number of heads of the sLSTM layers. None: as `num_heads`."""
    qkv_block_size: int | None = None
    """Family "xlstm": size of the blocks of the block-diagonal query, key and value projections. None: 4."""
    mlstm_proj_factor: float | None = None
    """Family "xlstm": width of the mLSTM relative to `embedding_dim`, rounded up to `proj_round_to`. None: 2."""
    rotary_base: float | None = None
    """Family "xlstm": base of rotary positions, by which the mLSTM turns queries and keys over their whole width,
    before heads and gates (500000 in Prot-xLSTM). Any length can be read. None: no positions."""
    ffn_proj_factor: float | None = None
    """Width of the feed-forward relative to `embedding_dim`, rounded up to `proj_round_to`; 0 = no feed-forward.
    None: 1.3 ("xlstm", sLSTM blocks only) or 2.667 ("xlstm-large", every block)."""
    ffn_activation: Activation | None = None
    """Activation of the feed-forward's gate. None: "gelu" ("xlstm") or "silu" ("xlstm-large")."""
    proj_round_to: int = 64
    """Inner widths are rounded up to a multiple of this."""
    qk_dim_factor: float | None = None
    """Family "xlstm-large": total width of queries and keys relative to `embedding_dim`. None: 0.5."""
    v_dim_factor: float | None = None
    """Family "xlstm-large": total width of the values relative to `embedding_dim`. None: 1."""
    gate_soft_cap: float | None = None
    """Family "xlstm-large": gate pre-activations are squashed into +-gate_soft_cap by tanh. None: 15."""
    backend: Literal["auto", "reference", "torch", "triton"] = "auto"
    """Implementation of the recurrences; "auto" picks the fastest that works for device, type and shape."""

    def __post_init__(self) -> None:
        if isinstance(self.slstm_at, list):  # JSON and YAML know no tuples
            object.__setattr__(self, "slstm_at", tuple(self.slstm_at))
        self._check_values()
        self._check_family()
        self._check_divisibility()

    def option(self, name: str) -> Any:
        """The value of an option, or its family's where the option is None."""
        value = getattr(self, name)
        return FAMILY_DEFAULTS[self.family].get(name) if value is None else value

    def is_slstm(self, index: int) -> bool:
        """Whether block `index` is an sLSTM block."""
        return self.slstm_at == "all" or index in self.slstm_at

    @property
    def inner_dim(self) -> int:
        """Width of the mLSTM in family "xlstm"."""
        return self._round_up(self.option("mlstm_proj_factor"))

    @property
    def ffn_dim(self) -> int:
        """Width of the feed-forward; 0 where there is none."""
        return self._round_up(self.option("ffn_proj_factor"))

    @property
    def qk_dim(self) -> int:
        """Total width of queries and keys."""
        return self.inner_dim if self.family == "xlstm" else int(self.embedding_dim * self.option("qk_dim_factor"))

    @property
    def v_dim(self) -> int:
        """Total width of the values."""
        return self.inner_dim if self.family == "xlstm" else int(self.embedding_dim * self.option("v_dim_factor"))

    @property
    def slstm_heads(self) -> int:
        """Number of heads of an sLSTM layer."""
        return self.num_heads if self.slstm_num_heads is None else self.slstm_num_heads

    @property
    def slstm_conv(self) -> int:
        """Convolution taps of an sLSTM layer."""
        own = self.slstm_conv1d_kernel_size
        return (self.option("conv1d_kernel_size") or 0) if own is None else own

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able dictionary from which `from_dict` builds an equal configuration."""
        values = dataclasses.asdict(self)
        return values if self.slstm_at == "all" else {**values, "slstm_at": list(self.slstm_at)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "xLSTMConfig":
        """Build from a dictionary such as a `config.json` holds.

        Raises:
            ValueError: A key that is no option, or a value that `xLSTMConfig` refuses.
        """
        check_options(values, [field.name for field in dataclasses.fields(cls)])
        return cls(**values)

    def _round_up(self, factor: float) -> int:
        # The small slack keeps a factor such as 352 / 320 from being rounded past the width it was computed from.
        multiples = self.embedding_dim * factor / self.proj_round_to
        return math.ceil(multiples - 1e-6) * self.proj_round_to

    def _check_values(self) -> None:
        check_choices(self)
        for name, least in (
            ("embedding_dim", 1),
            ("num_blocks", 1),
            ("num_heads", 1),
            ("slstm_num_heads", 1),
            ("qkv_block_size", 1),
            ("proj_round_to", 1),
            ("conv1d_kernel_size", 0),
            ("slstm_conv1d_kernel_size", 0),
        ):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
                raise ValueError(f"{name}={value!r} must be a whole number, at least {least}")
        for name in ("mlstm_proj_factor", "rotary_base", "qk_dim_factor", "v_dim_factor", "gate_soft_cap", "norm_eps"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name}={value!r} must be positive")
        if self.ffn_proj_factor is not None and not self.ffn_proj_factor >= 0:
            raise ValueError(f"ffn_proj_factor={self.ffn_proj_factor!r} must be positive, or 0 for no feed-forward")
        if not self.cell_eps >= 0:
            raise ValueError(f"cell_eps={self.cell_eps!r} must not be negative")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout!r} must lie in [0, 1)")
        self._check_slstm_at()

    def _check_slstm_at(self) -> None:
        if self.slstm_at == "all":
            return
        if not isinstance(self.slstm_at, tuple):
            raise ValueError(f"slstm_at={self.slstm_at!r} must be a list of block indices or 'all'")
        for index in self.slstm_at:
            if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < self.num_blocks:
                last = self.num_blocks - 1
                raise ValueError(f"slstm_at: {index!r} is no block index, blocks are numbered 0 to {last}")

    def _check_family(self) -> None:
        options = FAMILY_DEFAULTS[self.family]
        for name in sorted({name for family in FAMILY_DEFAULTS.values() for name in family}):
            value = getattr(self, name)
            if name not in options and value is not None and not (name == "conv1d_kernel_size" and value == 0):
                raise ValueError(f"{name}={value!r} is no option of family {self.family!r}; leave it out")

    def _check_divisibility(self) -> None:
        kinds = {self.is_slstm(index) for index in range(self.num_blocks)}
        checks: list[tuple[str, int, str, int]] = []
        if True in kinds:
            checks.append(("embedding_dim", self.embedding_dim, "the number of sLSTM heads", self.slstm_heads))
        if False in kinds and self.family == "xlstm":
            width = "embedding_dim x mlstm_proj_factor"
            checks.append((width, self.inner_dim, "num_heads", self.num_heads))
            checks.append((width, self.inner_dim, "qkv_block_size", self.option("qkv_block_size")))
        if self.rotary_base is not None:
            if False not in kinds:
                raise ValueError(
                    f"rotary_base={self.rotary_base!r} needs an mLSTM block; sLSTM blocks have no positions"
                )
            checks.append(("embedding_dim x mlstm_proj_factor", self.inner_dim, "a rotated pair", 2))
        if False in kinds and self.family == "xlstm-large":
            checks.append(("embedding_dim x qk_dim_factor", self.qk_dim, "num_heads", self.num_heads))
            checks.append(("embedding_dim x v_dim_factor", self.v_dim, "num_heads", self.num_heads))
        for what, size, divisor, number in checks:
            if size % number or size == 0:
                raise ValueError(f"{what} = {size} must be a multiple of {divisor} = {number}")
