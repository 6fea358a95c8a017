"""The sequence model: embedding, xLSTM backbone and head, on one strand or on both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

from xlstm_apps.biosequence import scoring, strings
from xlstm_apps.biosequence.config import SequenceConfig
from xlstm_apps.biosequence.packing import Rows, begin_documents, pool
from xlstm_apps.biosequence.vocabularies import alphabet_of, vocabulary_of
from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.core.language_model import xLSTMLanguageModel
from xlstm_apps.core.state import xLSTMState
from xlstm_apps.core.strands import align_strands, both_strands


class SequenceModel(xLSTMLanguageModel):
    """A language model of DNA, proteins, molecules or text.

    With `symmetry="shared"` its logits are exactly equivariant: those of the reverse complement are its logits turned
    around, with complements exchanged. The same holds for `"posthoc"` in evaluation mode and the masked objective.

    Args:
        sequence: Alphabet, objective, symmetry.
        backbone: The layers. The causal objective needs `direction="causal"`, the masked one another direction or
            shared strands.

    Raises:
        ValueError: An objective and a direction that do not go together.
    """

    complement: Tensor | None
    forbidden: Tensor

    def __init__(self, sequence: SequenceConfig, backbone: xLSTMConfig) -> None:
        causal = backbone.direction == "causal"
        if sequence.objective == "causal" and not causal:
            raise ValueError(
                f"objective='causal' needs backbone.direction='causal': with {backbone.direction!r} the model would "
                "see what it is to predict; for both directions use objective='masked'"
            )
        if sequence.objective == "masked" and causal and sequence.symmetry != "shared":
            raise ValueError(
                "objective='masked' with backbone.direction='causal' would read one side only; use "
                "direction='bidirectional', or symmetry='shared'"
            )
        alphabet = alphabet_of(sequence)
        super().__init__(
            backbone,
            len(alphabet),
            tie_weights=sequence.tie_weights,
            embedding_dropout=sequence.embedding_dropout,
            eos_id=alphabet.end,
            pad_id=alphabet.pad,
        )
        self.sequence, self.alphabet = sequence, alphabet
        pairs = None if alphabet.complement is None else torch.from_numpy(alphabet.complement.astype(np.int64))
        self.register_buffer("complement", pairs, persistent=False)
        forbidden = torch.ones(len(alphabet), dtype=torch.bool)
        forbidden[[*alphabet.definite, *([alphabet.end] if sequence.ends else [])]] = False  # ends have to be learned
        self.register_buffer("forbidden", forbidden, persistent=False)
        self._impossible: Tensor | None = None

    @property
    def begins(self) -> bool:
        """Whether a begin token stands before every sequence."""
        return self.sequence.objective == "causal" and self.sequence.begin_token

    @property
    def reads_both(self) -> bool:
        """Whether features and predictions come from both strands: always if shared, out of training if posthoc."""
        symmetry = self.sequence.symmetry
        return symmetry == "shared" or (symmetry == "posthoc" and not self.training)

    def forward(
        self,
        ids: Tensor,
        state: xLSTMState | None = None,
        *,
        return_state: bool = False,
        cu_seqlens: Tensor | None = None,
        lengths: Sequence[int] | Tensor | None = None,
        positions: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, xLSTMState]:
        """Token ids [B, T] -> logits [B, T, V]: of the next token if causal, of the token itself if masked.

        Args:
            ids: As given: no begin token is added.
            state: Causal models only: what to continue from.
            return_state: Causal models only: return the state after the last token too.
            cu_seqlens: Borders of documents packed into one row, as in `xLSTMBackbone`.
            lengths: Lengths of the rows where they are padded; what stands behind them is not read, and logits there
                are 0.
            positions: Where the tokens stand, [B, T], for layers with `rotary_base`; None counts.
        """
        if lengths is not None:
            _exclude(lengths=lengths, cu_seqlens=cu_seqlens, state=state, return_state=return_state or None)
            rows = Rows(lengths, ids.shape[1], ids.device)
            places = {} if positions is None else {"positions": rows.pack(positions)}
            return rows.unpack(self(rows.pack(ids), cu_seqlens=rows.cu_seqlens, **places))
        if self.sequence.objective == "causal" or not self.reads_both:
            return super().forward(ids, state, return_state=return_state, cu_seqlens=cu_seqlens, positions=positions)
        if positions is not None:
            raise ValueError("a model that reads both strands counts the positions of each itself")
        if state is not None or return_state:
            raise ValueError("a model that reads both strands has no state: the other one begins at the end")
        own, other = self.encode(ids, cu_seqlens=cu_seqlens)
        assert self.complement is not None
        logits = self.logits(own) + self.logits(other)[..., self.complement]
        return logits if self.sequence.symmetry == "shared" else logits / 2

    def count_positions(
        self, ids: Tensor, state: xLSTMState | None = None, cu_seqlens: Tensor | None = None
    ) -> Tensor | None:
        """Where tokens [B, T] stand, for layers with `rotary_base`: counted, and from 0 again at every begin token, so
        that each of several homologs in a row has its own positions."""
        if getattr(self.config, "rotary_base", None) is None or self.sequence.objective != "causal":
            return None
        steps, begins = torch.arange(ids.shape[1], device=ids.device), ids == self.alphabet.bos
        if cu_seqlens is not None:
            begins = begins.index_fill(1, cu_seqlens[:-1].to(ids.device).long(), True)
        last = torch.where(begins, steps, -1).cummax(1).values
        before = 0 if state is None or state.position is None else state.position.unsqueeze(-1)
        return torch.where(last < 0, steps + before, steps - last)

    def encode(self, ids: Tensor, *, cu_seqlens: Tensor | None = None, layer: int = -1) -> tuple[Tensor, ...]:
        """Features [B, T, E] of every symbol as each strand sees it, at the places of the given strand.

        Args:
            ids: [B, T]; a causal model reads its begin token first.
            cu_seqlens: Borders of packed documents.
            layer: Behind how many blocks; -1 = behind the last one, normalised, as the head reads them.
        """
        if not -1 <= layer <= self.config.num_blocks:
            raise ValueError(
                f"layer={layer}: give 0 (embeddings) to {self.config.num_blocks} (behind the last block), or -1 "
                "(the same, normalised)"
            )
        read, borders, both = ids.long(), cu_seqlens, self.reads_both
        if both:
            assert self.complement is not None
            read, borders = both_strands(read, self.complement, cu_seqlens)
        places = None
        if self.begins:
            read, borders, places = begin_documents(read, self.alphabet.bos, borders)
        options: dict[str, Any] = {"cu_seqlens": borders, "until": None if layer == -1 else layer}
        if (positions := self.count_positions(read, None, borders)) is not None:
            options["positions"] = positions
        x = self.backbone(self.dropout(self.embedding(read)), **options)
        x = x if places is None else x[:, places]
        return align_strands(x, cu_seqlens) if both else (x,)

    def embed(
        self,
        ids: Tensor | str | Sequence[str],
        layer: int = -1,
        *,
        pooling: Literal["mean", "last", "max"] | None = None,
        lengths: Sequence[int] | Tensor | None = None,
        cu_seqlens: Tensor | None = None,
    ) -> Any:
        """Features of symbols [B, T, E], or of sequences [B, E] where `pooling` says how to sum up; N for B if packed.
        Of a string [T, E], or [E]; of several a list of [T, E], or [N, E].

        Where the model reads both strands, the features are the mean of what each sees, pooled in its own direction.

        Args:
            ids: [B, T]; or strings, read as files are: lower case as upper, R as N.
            layer: As in `encode`.
            pooling: None = one vector per symbol.
            lengths: Lengths of padded rows; padding is neither read nor pooled, and its features are 0.
            cu_seqlens: Borders of packed documents.
        """
        if pooling not in (None, "mean", "last", "max"):
            raise ValueError(f"pooling={pooling!r}: give 'mean', 'last' or 'max', or None for a vector per symbol")
        if strings.are_strings(ids):
            _exclude(strings=True, lengths=lengths, cu_seqlens=cu_seqlens)
            return strings.embed(self, ids, layer, pooling)
        rows = None
        if lengths is not None:
            _exclude(lengths=lengths, cu_seqlens=cu_seqlens)
            rows = Rows(lengths, ids.shape[1], ids.device)
            ids, cu_seqlens = rows.pack(ids), rows.cu_seqlens
        strands = self.encode(ids, cu_seqlens=cu_seqlens, layer=layer)
        if pooling is not None:
            strands = tuple(pool_strand(x, pooling, cu_seqlens, other=n > 0) for n, x in enumerate(strands))
            return torch.stack(strands).mean(0)
        x = torch.stack(strands).mean(0)
        return x if rows is None else rows.unpack(x)

    def score(
        self,
        ids: Tensor | str | Sequence[str],
        weights: Tensor | None = None,
        *,
        lengths: Sequence[int] | Tensor | None = None,
        context: scoring.Context | None = None,
        strands: Literal["own", "both"] | None = None,
        chunk_length: int = scoring.CHUNK_LENGTH,
        passes: int | None = None,
    ) -> Any:
        """-log p in nats of every symbol [B, T]; NaN where it is not scored. See `scoring.score`.

        Of a string [T], of several a list of [T]; strings are read as files are, lower case as upper and R as N. A
        context may have one row for all of them.
        """
        options: Any = {"strands": strands, "chunk_length": chunk_length, "passes": passes}
        if strings.are_strings(ids):
            _exclude(strings=True, weights=weights, lengths=lengths)
            return strings.score(self, ids, context, options)
        return scoring.score(self, ids, weights, lengths=lengths, context=context, **options)

    def read(self, ids: Tensor | str, context: scoring.Context | None = None) -> scoring.Context:
        """Read sequences [B, T], or a string, and return what to go on from, for `score` and `generate`, any often."""
        if isinstance(ids, str):
            ids = strings.encode(self, [ids], empty=True)[0][None]
        return scoring.read(self, ids, context)

    def logits(self, x: Tensor) -> Tensor:
        """Head and soft cap on features [..., E]; while generating, only definite symbols and learned ends."""
        logits = super().logits(x)
        return logits if self._impossible is None else logits.masked_fill(self._impossible, -torch.inf)

    def generate(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        ids: Tensor | Sequence[Tensor] | str | Sequence[str] | None = None,
        max_new_tokens: int = 100,
        *,
        min_new_tokens: int = 0,
        **options: Any,
    ) -> Any:
        """Continue prompts, or make up sequences where there are none; options as in `xLSTMLanguageModel.generate`.

        Args:
            ids: Prompts without begin token, ids or strings; what comes back is of the same kind, prompt included. An
                empty string is no prompt. None makes up one sequence of ids, [T], or `num_sequences`, a list.
            max_new_tokens: Most symbols to add.
            min_new_tokens: No sequence ends before so many are added.
            options: `temperature`, `top_k`, `top_p`, `generator`, `constraint`, ...; without prompts also
                `num_sequences`.

        Raises:
            ValueError: A masked model, or no prompt for a model without begin token.
        """
        if self.sequence.objective != "causal":
            raise ValueError("a masked model fills in symbols, it cannot generate; train with objective='causal'")
        if not 0 <= min_new_tokens <= max_new_tokens:
            raise ValueError(f"min_new_tokens={min_new_tokens} must lie between 0 and max_new_tokens={max_new_tokens}")
        begin = torch.tensor([self.alphabet.bos], device=self.embedding.weight.device)
        count = options.pop("num_sequences", None)
        lengths = (min_new_tokens, max_new_tokens)
        if ids is None:
            if not self.begins:
                raise ValueError("this model has no begin token: give prompts of at least one symbol")
            made = [row[1:] for row in self._continue([begin] * (count or 1), *lengths, options)]
            return made[0] if count is None else made
        if count is not None:
            raise ValueError("num_sequences is for sequences without prompt; repeat the prompt instead")
        if strings.are_strings(ids):
            return strings.generate(self, ids, *lengths, options)
        if self.begins and options.get("state") is None:
            options["state"] = self.read(begin[None, :0]).state
        return self._continue(ids, *lengths, options)

    def _continue(self, prompts: Any, least: int, most: int, options: dict[str, Any]) -> Any:
        """Prompts and what follows them. Up to `least` new symbols the end is impossible; they are then read again."""
        if least and options.get("lengths") is not None:
            raise ValueError("min_new_tokens goes with a list of prompts, not with padded rows and their lengths")
        constraint = options.get("constraint")
        if constraint is not None:  # it keeps the end away itself, in one reading
            constraint.least, constraint.end, least = least, self.alphabet.end, 0
        try:
            if least:
                self._impossible = self.forbidden.clone()
                self._impossible[torch.as_tensor(options.get("eos_id", self.alphabet.end)).reshape(-1)] = True
                prompts = super().generate(prompts, least, **options)
            self._impossible = self.forbidden
            return super().generate(prompts, most - least, **options) if most > least else prompts
        finally:
            self._impossible = None

    @classmethod
    def from_published(cls, config: Mapping[str, Any], state_dict: Mapping[str, Any]) -> Self:
        """A DNA-, Prot- or Chem-xLSTM checkpoint as a model of this package, to score, embed, fine-tune and save.

        Args:
            config: As in `interop.load_reference("dna-xlstm", ...)`, `"prot-xlstm"` or `"chem-xlstm"`; that of
                Chem-xLSTM has `token2label`.
            state_dict: As there; its vocabulary says which of the first two it is.

        Raises:
            ValueError: Also for weights trained with the head flip of the published parameter sharing, which is no
                symmetry; with `legacy_head_flip=False` in the config they are loaded without it.
        """
        from xlstm_apps.interop.dna_xlstm import SharedStrandsLanguageModel
        from xlstm_apps.interop.load import load_reference

        if "token2label" in config:
            return cls._published_molecules(config, state_dict)
        protein = any(name.endswith("token_embedding.weight") and len(x) == 38 for name, x in state_dict.items())
        loaded = load_reference("prot-xlstm" if protein else "dna-xlstm", config, state_dict)
        assert isinstance(loaded, xLSTMLanguageModel)
        shared = isinstance(loaded, SharedStrandsLanguageModel)
        if shared and loaded.flips and loaded.config.slstm_heads > 1:
            raise ValueError(
                "these weights share parameters with the published head flip, which breaks the symmetry; "
                "interop.load_reference runs them as published, legacy_head_flip=False loads them without it"
            )
        causal = loaded.config.direction == "causal" and not shared
        own = SequenceConfig(
            alphabet="protein" if protein else "dna",
            objective="causal" if causal else "masked",
            symmetry="shared" if shared else "none",
            begin_token=protein,
            infill_spans=1.0 if protein else 0.0,
            tie_weights=loaded.head.weight is loaded.embedding.weight,
        )
        model = cls(own, loaded.config)
        model.load_state_dict(loaded.state_dict())
        return model.eval()

    @classmethod
    def _published_molecules(cls, config: Mapping[str, Any], state_dict: Mapping[str, Any]) -> Self:
        from xlstm_apps.interop.load import load_reference

        if config.get("mode", "smiles") != "smiles":
            raise ValueError(f"chem-xlstm: mode={config['mode']!r} is not supported, only 'smiles'")
        loaded = load_reference("chem-xlstm", config, state_dict)
        assert isinstance(loaded, xLSTMLanguageModel)
        tokens = vocabulary_of(config["token2label"], loaded.vocab_size)
        tied = loaded.head.weight is loaded.embedding.weight
        model = cls(SequenceConfig(alphabet="smiles", vocabulary=tokens, tie_weights=tied), loaded.config)
        model.load_state_dict(loaded.state_dict())
        return model.eval()


def pool_strand(
    x: Tensor, pooling: Literal["mean", "last", "max"], cu_seqlens: Tensor | None, *, other: bool
) -> Tensor:
    """Features of sequences [B, E] from those of one strand's symbols, at the places of the given strand: the reading
    of the `other` one ends where that one begins."""
    if not (other and pooling == "last"):
        return pool(x, pooling, cu_seqlens)
    return x[:, 0] if cu_seqlens is None else x[0, cu_seqlens[:-1].to(x.device).long()]


def _exclude(**given: Any) -> None:
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise ValueError(f"{' and '.join(names)} exclude each other")
