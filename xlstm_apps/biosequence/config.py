"""What a sequence model reads and how it is trained to read it, as plain data. Imports no torch."""

from dataclasses import dataclass, replace
from typing import Literal

from xlstm_apps.choices import check_choices


@dataclass(frozen=True, kw_only=True)
class SequenceConfig:
    """Alphabet, objective and symmetry of a sequence model; its layers are those of `xLSTMConfig`."""

    alphabet: Literal["dna", "protein", "smiles", "text"] = "dna"
    """Which symbols there are."""
    objective: Literal["causal", "masked"] = "causal"
    """`causal`: predict each symbol from those before it; scores, continues and generates sequences of any length.
    `masked`: predict hidden symbols from both sides; for embeddings and fine-tuning."""
    symmetry: Literal["none", "augment", "posthoc", "shared"] = "none"
    """Second strand of DNA. `none`: not read. `augment`: half of the training sequences are read on the other strand.
    `posthoc`: the same, and what the model says of both strands is averaged when it is used. `shared`: both strands are
    read with the same weights in training too (reverse-complement parameter sharing); exactly equivariant, masked
    objective only."""
    begin_token: bool = True
    """Causal: put a begin token before every sequence, so that its first symbol is scored too. Published DNA-xLSTM
    models have none."""
    end_token: bool | None = None
    """Causal: ask what comes behind the last symbol of a record too, so that sequences that are made up come to an end.
    None: for proteins and molecules; the end of a contig of DNA says nothing."""
    sets: bool = False
    """Causal, molecules: read sets of them in one line, where a token of its own, [SEP], begins and ends each. Set by
    `data.families`."""
    vocabulary: tuple[str, ...] | None = None
    """Causal, molecules: the tokens of a published model in the order of their ids. None: those of this package, which
    write every molecule."""
    infill_spans: float = 0.0
    """Causal, proteins: mean number of spans that training takes out of a sequence and puts behind it, so that the
    model learns to fill gaps knowing both sides (1 for published Prot-xLSTM). 0: none."""
    infill_share: float = 0.2
    """Longest span, as a share of the symbols from its begin to that of the next."""
    infill_most: int = 5
    """Most spans of a sequence; beyond 5 their tokens are used in turn."""
    mask_rate: float = 0.15
    """Masked: share of the symbols to predict."""
    mask_token_share: float = 0.8
    """Masked: share of these that are replaced by the mask token."""
    mask_random_share: float = 0.1
    """Masked: share of these that are replaced by a random symbol; the others stay as they are."""
    tie_weights: bool = False
    """Let the output head share the weights of the embedding."""
    embedding_dropout: float = 0.0
    """Probability of dropping an element of an embedding."""

    def __post_init__(self) -> None:
        if isinstance(self.vocabulary, list):  # JSON and YAML know no tuples
            object.__setattr__(self, "vocabulary", tuple(self.vocabulary))
        check_choices(self)
        for name in ("mask_token_share", "mask_random_share", "embedding_dropout", "infill_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} is a share, from 0 to 1")
        if not 0 < self.mask_rate <= 1:
            raise ValueError(f"mask_rate={self.mask_rate} is a share of the symbols, above 0 and at most 1")
        if self.mask_token_share + self.mask_random_share > 1:
            raise ValueError("mask_token_share and mask_random_share together must not be above 1")
        if self.infill_spans < 0 or self.infill_most < 1 or self.infill_share == 0:
            raise ValueError("infill_spans must not be negative, infill_most at least 1 and infill_share above 0")
        if self.infill_spans and (self.alphabet != "protein" or self.objective != "causal" or not self.begin_token):
            raise ValueError("infill_spans is for causal models of proteins with a begin token; leave it at 0")
        if self.vocabulary is not None and (self.alphabet != "smiles" or self.objective != "causal" or self.sets):
            raise ValueError(
                "vocabulary is for causal models of molecules (alphabet smiles), in whose sets the dot parts them: "
                "leave sets false"
            )
        if self.sets and (self.alphabet != "smiles" or not self.ends or not self.begin_token):
            raise ValueError("sets is for causal models of molecules (alphabet smiles) with begin and end token")
        if self.end_token and self.objective != "causal":
            raise ValueError("end_token is for objective='causal'; a masked model has no end to predict")
        if self.symmetry != "none" and self.alphabet != "dna":
            raise ValueError(f"symmetry={self.symmetry!r} needs a second strand, which {self.alphabet} has not")
        if self.symmetry == "shared" and self.objective == "causal":
            raise ValueError(
                "symmetry='shared' reads the other strand from its own end, where a causal model would see what it is "
                "to predict; use symmetry='posthoc', or objective='masked'"
            )

    @property
    def ends(self) -> bool:
        """Whether training asks for the end of every record."""
        wanted = self.alphabet in ("protein", "smiles") if self.end_token is None else self.end_token
        return wanted and self.objective == "causal"

    @property
    def infills(self) -> bool:
        """Whether training asks to fill gaps."""
        return self.infill_spans > 0

    @property
    def augments(self) -> bool:
        """Whether training reads half of the sequences on the other strand."""
        return self.symmetry in ("augment", "posthoc")


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """What is predicted of a sequence, or of each of its symbols."""

    task: Literal["classification", "multilabel", "regression"] | None = None
    """`classification`: one of several classes; `multilabel`: each of several labels or not; `regression`: numbers.
    None: what the labels look like."""
    num_outputs: int | None = None
    """Classes, labels or numbers. None: as many as the data has."""
    names: tuple[str, ...] | None = None
    """Names of the outputs, in their order; of two classes the second is the one that is looked for. None: those of the
    data, sorted."""
    per_symbol: bool = False
    """Predict for every symbol instead of once for the sequence."""
    pooling: Literal["mean", "last", "max", "places"] = "mean"
    """How the features of the symbols become those of the sequence; padding never counts. `places`: every place has
    weights of its own, for sequences of one length that lie aligned to one another, such as promoters around their
    start; they are read as they stand, so a reverse complement is another sequence."""
    length: int | None = None
    """Pooling `places`: symbols in every sequence. None: as many as those of the data have."""
    dropout: float = 0.1
    """Probability of dropping a pooled feature in training."""
    linear: bool = True
    """Whole sequences: let linear models of k-mers, and of places where all sequences have one length, answer along
    with the network, each with the weight that suits the validation part."""

    def __post_init__(self) -> None:
        if isinstance(self.names, list):  # JSON and YAML know no tuples
            object.__setattr__(self, "names", tuple(self.names))
        check_choices(self)
        least = 2 if self.task == "classification" else 1
        if self.num_outputs is not None and self.num_outputs < least:
            raise ValueError(f"num_outputs={self.num_outputs} must be at least {least} for {self.task or 'any task'}")
        if self.names is not None:
            if len(set(self.names)) < len(self.names):
                raise ValueError("names of outputs must differ from one another")
            if len(self.names) < least or self.num_outputs not in (None, len(self.names)):
                raise ValueError(f"{len(self.names)} names for {self.num_outputs or least} outputs; give one for each")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout} must lie in [0, 1)")
        if self.pooling == "places" and self.per_symbol:
            raise ValueError("pooling='places' is for whole sequences; leave it out where every symbol is predicted")
        if self.length is not None and (self.pooling != "places" or self.length < 1):
            raise ValueError(f"length={self.length}: give a number above 0, for pooling='places' alone")

    def decided(self) -> "HeadConfig":
        """The same with nothing left open: classes, as many as there are names, else two; or one number."""
        task = self.task or "classification"
        count = self.num_outputs or (len(self.names) if self.names else 2 if task == "classification" else 1)
        return replace(self, task=task, num_outputs=count)


@dataclass(frozen=True, kw_only=True)
class LinearConfig:
    """What the linear member of a predictor counts."""

    k: int = 0
    """Longest k-mer; 0: none."""
    places: int = 0
    """Symbols from the start of which it looks at the place; 0: none."""
    both_strands: bool = False
    """Count k-mers of both strands."""
