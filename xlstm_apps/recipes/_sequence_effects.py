"""What the verbs that score changes are asked in common, and what that means for a model."""

from __future__ import annotations

from dataclasses import dataclass

from xlstm_apps.biosequence.effects import Strands
from xlstm_apps.estimators.sequence_variants import ContextLength, EffectOptions, context_for


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How changes are to be scored, as options of the command line."""

    strands: Strands | None
    context_length: ContextLength
    downstream: int | None
    per_symbol: bool
    batch_symbols: int | None

    def of(self, model_path: str) -> tuple[EffectOptions, str]:
        """The same for a model, and in words how much context it reads."""
        context, why = context_for(model_path, self.context_length)
        options = EffectOptions(
            strands=self.strands,
            context_length=context,
            downstream=self.downstream,
            per_symbol=self.per_symbol,
            tokens=self.batch_symbols,
        )
        return options, f"context_length {'all' if context is None else f'{context:,}'}: {why}"
