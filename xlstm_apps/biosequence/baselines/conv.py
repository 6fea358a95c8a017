"""A convolutional network beside the xLSTM, as large as it is: what a motif scanner of today looks like."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from xlstm_apps.biosequence.config import HeadConfig, SequenceConfig
from xlstm_apps.biosequence.heads import SequencePredictor
from xlstm_apps.biosequence.model import SequenceModel
from xlstm_apps.core.size import count_weights


@dataclass(frozen=True, kw_only=True)
class ConvConfig:
    """Convolutions on embedded symbols: a wide one for motifs, then residual ones that see further at every layer."""

    embedding_dim: int = 64
    """Channels."""
    num_blocks: int = 3
    """Convolutions; from the second on with a residual connection, and twice as dilated as the one before."""
    kernel_size: int = 15
    """Taps of the first."""
    inner_kernel_size: int = 5
    """Taps of the others."""
    dropout: float = 0.1
    """Probability of dropping an element behind each."""
    direction: str = "bidirectional"
    """A convolution sees both sides."""
    family: str = "conv"
    """What kind of layers these are, as every backbone says."""

    def __post_init__(self) -> None:
        if self.kernel_size % 2 == 0 or self.inner_kernel_size % 2 == 0:
            raise ValueError(f"kernel sizes {self.kernel_size} and {self.inner_kernel_size} must be odd")
        if self.embedding_dim < 1 or self.num_blocks < 1:
            raise ValueError("a convolutional network needs a channel and a layer")


class ConvPredictor(SequencePredictor):
    """Classes, labels or numbers from convolutions, trained and used as a `SequencePredictor` is.

    Args:
        head: What is predicted. A motif counts wherever it is, so `pooling="max"` suits.
        sequence: As in `SequenceModel`.
        backbone: The convolutions.
    """

    def __init__(self, head: HeadConfig, sequence: SequenceConfig, backbone: ConvConfig) -> None:
        super().__init__(head, sequence, backbone)  # pyright: ignore[reportArgumentType]

    def build_model(self, sequence: SequenceConfig, backbone: Any) -> SequenceModel:
        return ConvModel(sequence, backbone)

    @classmethod
    def matched(cls, head: HeadConfig, sequence: SequenceConfig, parameters: int, config: ConvConfig) -> Self:
        """The network whose number of trained weights comes nearest to `parameters`, as wide as that makes it."""
        own = replace(sequence, objective="masked", mask_rate=0.15, begin_token=False)
        width, found = 8, None
        while True:
            made = replace(config, embedding_dim=width)
            with torch.device("meta"):
                count = trained_weights(cls(head, own, made))
            if found is None or abs(count - parameters) < abs(found[0] - parameters):
                found = (count, made)
            if count >= parameters:
                return cls(head, own, found[1])
            width += 4


class ConvModel(SequenceModel):
    """A `SequenceModel` whose layers are convolutions; it is there for its features."""

    def build_backbone(self, config: Any) -> Any:
        return ConvBackbone(config)


class ConvBackbone(nn.Module):
    """Convolutions over rows [B, T, E], or over packed documents [1, T, E] that do not see one another."""

    def __init__(self, config: ConvConfig) -> None:
        super().__init__()
        self.config = config
        E = config.embedding_dim  # noqa: N806
        self.convolutions = nn.ModuleList()
        for index in range(config.num_blocks):
            taps, dilation = (config.kernel_size, 1) if index == 0 else (config.inner_kernel_size, 2**index)
            self.convolutions.append(nn.Conv1d(E, E, taps, padding=dilation * (taps // 2), dilation=dilation))
        self.norms = nn.ModuleList(nn.LayerNorm(E) for _ in range(config.num_blocks))
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        state: None = None,
        *,
        return_state: bool = False,
        cu_seqlens: Tensor | None = None,
        until: int | None = None,
    ) -> Tensor:
        """[B, T, E] -> [B, T, E]; there is no state to keep."""
        if state is not None or return_state:
            raise ValueError("a convolutional network has no state")
        real, lengths = None, None
        if cu_seqlens is not None:
            lengths = cu_seqlens.diff().tolist()
            x = pad_sequence(list(x[0].split(lengths)), batch_first=True)
            real = torch.arange(x.shape[1], device=x.device) < cu_seqlens.to(x.device).diff()[:, None]
        for index in range(self.config.num_blocks if until is None else until):
            y = self.convolutions[index](x.transpose(1, 2)).transpose(1, 2)
            y = self.dropout(nn.functional.gelu(self.norms[index](y)))
            y = y if index == 0 else x + y
            x = y if real is None else y * real.unsqueeze(-1)  # behind a document is nothing, as behind a row
        return x if real is None else x[real].unsqueeze(0)


def trained_weights(predictor: SequencePredictor) -> int:
    """Number of weights that matter for a prediction: all but those of the head that says what comes next."""
    tied = predictor.model.sequence.tie_weights
    unused = 0 if tied else count_weights(predictor.model.head)
    return count_weights(predictor) - unused
