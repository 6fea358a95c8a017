"""MoleculeGenerator: a language model of molecules in the manner of scikit-learn, fit and generate on SMILES."""

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from rich.console import Console
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from xlstm_apps.biosequence import SequenceConfig, SequenceModel, file_encoder, get_alphabet
from xlstm_apps.biosequence.family import FamilyContext
from xlstm_apps.biosequence.sizes import SMALL
from xlstm_apps.core.config import check_options, xLSTMConfig
from xlstm_apps.datasets.molecules.curation import Curator, Reject
from xlstm_apps.datasets.molecules.metrics import Reference, compare_sets, read_valid
from xlstm_apps.datasets.molecules.standardise import MoleculePolicy, Rejected, Standardiser
from xlstm_apps.datasets.sequences import Corpus, SequenceData, SequencePolicy
from xlstm_apps.datasets.sequences.record import Record
from xlstm_apps.estimators.molecule_context import read_set
from xlstm_apps.estimators.molecule_decoration import decorate
from xlstm_apps.estimators.molecule_likeness import Candidate, Turning, draw_new, turn
from xlstm_apps.estimators.sequence_generation import generate_sequences
from xlstm_apps.estimators.sequence_plan import plan_sequences
from xlstm_apps.estimators.sequence_saved import load_sequence_model
from xlstm_apps.training import FitConfig, files

_SAVED = "molecules.json"
_FEW_SETS = 10
"""Sets below which validation takes molecules out of them."""


class MoleculeGenerator(BaseEstimator):
    """Learns the language of molecules from SMILES, and makes up new ones.

        generator = MoleculeGenerator().fit(smiles)
        generator.generate(100)
        generator.like(actives, num_candidates=20)

    Where `fit` is told which molecules belong together, the model learns to go on with molecules like those it has
    read, and `generate` and `like` show them to it.

    Molecules are written canonically and taken once; what is no molecule is left out and told in `rejects_`.

    Args:
        salts: `keep`, `largest` or `drop`, as in `MoleculePolicy`.
        stereo: `keep` or `strip`.
        embedding_dim: Width of the xLSTM.
        num_blocks: Its number of blocks.
        backbone: More options of `xLSTMConfig` by name.
        max_epochs: Most epochs.
        batch_size: Molecules per step; None: by their length.
        learning_rate: Peak learning rate; None: by the width.
        context_length: Tokens of a window; None: chosen from the data.
        randomise: Share of the molecules that training spells anew each time it sees them.
        val_fraction: Share of the molecules on which the best epoch is chosen; 0: the last epoch.
        accelerator: `auto`, `cpu`, `cuda` or `mps`.
        seed: Of weights, order and the validation part.
        progress: Show a progress bar on the error stream.

    Attributes:
        model_: The fitted `SequenceModel`.
        training_: Canonical SMILES it has learned from or was chosen on: what comes up again is not new.
        rejects_: What was left out, with reasons.
        context_length_: Tokens of a training window, which a set that is shown is cut to.
        history_: One dict per epoch.
    """

    def __init__(
        self,
        *,
        salts: str = "keep",
        stereo: str = "keep",
        embedding_dim: int = 128,
        num_blocks: int = 2,
        backbone: Mapping[str, Any] | None = None,
        max_epochs: int = 20,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        context_length: int | None = None,
        randomise: float = 0.0,
        val_fraction: float = 0.1,
        accelerator: str = "auto",
        seed: int = 0,
        progress: bool = False,
    ):
        self.salts = salts
        self.stereo = stereo
        self.embedding_dim = embedding_dim
        self.num_blocks = num_blocks
        self.backbone = backbone
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.context_length = context_length
        self.randomise = randomise
        self.val_fraction = val_fraction
        self.accelerator = accelerator
        self.seed = seed
        self.progress = progress

    def fit(self, X: Iterable[str], y: Any = None, groups: Iterable[Any] | None = None) -> Self:  # noqa: N803 - names of scikit-learn
        """Learn from SMILES; `y` is not looked at.

        Args:
            X: The molecules.
            y: Nothing.
            groups: Set of each molecule, such as its assay: sets are read in one line. None: single molecules.

        Raises:
            ValueError: A single string, too few molecules to learn from, or not a group for each.
        """
        alphabet = get_alphabet("smiles")
        smiles, sets = _strings(X), None if groups is None else [str(group) for group in groups]
        if sets is not None and len(sets) != len(smiles):
            raise ValueError(f"{len(smiles)} molecules and {len(sets)} groups; give one for each")
        curator = Curator(self._policy(), "skip", "first", by_group=sets is not None)
        options = {"slstm_at": "all", **(self.backbone or {})}
        check_options(options, [field.name for field in fields(xLSTMConfig)], section="backbone.")
        backbone = replace(SMALL, embedding_dim=self.embedding_dim, num_blocks=self.num_blocks, **options)
        fit = FitConfig(
            max_epochs=self.max_epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            accelerator=self.accelerator,  # type: ignore[arg-type]
        )
        rows = (
            Record(id=str(i), sequence=text.encode(), group=None if sets is None else sets[i])
            for i, text in enumerate(smiles)
        )
        data = SequenceData(
            path=["memory"],
            split="random" if sets is None or len(set(sets)) < _FEW_SETS else "group",
            families="none" if sets is None else "group",
            context_length=self.context_length,
            randomise=self.randomise,
            val_fraction=self.val_fraction,
            test_fraction=0.0,
            split_seed=self.seed,
        )
        with tempfile.TemporaryDirectory(prefix="xlstm-apps-") as folder:
            policy = SequencePolicy(on_bad="skip")
            corpus = Corpus.build(
                rows, Path(folder) / "corpus", alphabet, policy=policy, encode=file_encoder(alphabet), curate=curator
            )
            plan = plan_sequences(
                corpus, data=data, sequence=SequenceConfig(alphabet="smiles"), backbone=backbone, fit=fit
            )
            model = plan.model(self.seed)
            console = Console(stderr=True) if self.progress else None
            self.history_ = plan.train_model(model, self.seed, console=console).history
            tokens = alphabet.tokens
            self.training_ = {"".join(tokens[i] for i in corpus[n].tolist()) for n in range(len(corpus))}
        self.model_, self.rejects_, self.context_length_ = model.eval(), curator.rejects, plan.context_length
        return self

    def generate(
        self,
        num_molecules: int = 100,
        *,
        prompt: str = "",
        scaffold: str | None = None,
        context: Iterable[str] | None = None,
        valid: bool = True,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        max_length: int = 200,
        seed: int = 0,
    ) -> list[str]:
        """SMILES as they are drawn: some may come twice, or be known; see `evaluate`.

        Args:
            num_molecules: How many.
            prompt: What each begins with.
            scaffold: What each holds, with points to attach at, such as c1ccc(*)cc1; goes without prompt, and with
                valid; written canonically.
            context: Molecules that are read first, where the model has learned from sets.
            valid: Draw molecules only; False: whatever comes.
            temperature: 1 draws as the model says, less keeps to what is probable.
            top_k: Draw among the k most probable tokens only.
            top_p: Draw among the most probable tokens that together reach this probability only.
            max_length: Most tokens to add.
            seed: Of the draws.
        """
        model = self._fitted()
        family = None if context is None else self._read(self._written(context), seed)
        if scaffold is None:
            batches = generate_sequences(
                model, [prompt], per_prompt=num_molecules, max_length=max_length, temperature=temperature,
                top_k=top_k, top_p=top_p, seed=seed, valid=valid, family=family,
            )  # fmt: skip
        elif prompt or not valid:
            raise ValueError("with a scaffold there is no prompt, and what is drawn is valid; leave them out")
        else:
            batches = decorate(
                model, scaffold, num_molecules=num_molecules, max_length=max_length, temperature=temperature,
                top_k=top_k, top_p=top_p, seed=seed, family=family,
            )  # fmt: skip
        return [made.text for batch in batches for made in batch]

    def perplexity(self, X: Iterable[str]) -> np.ndarray:  # noqa: N803
        """Of the tokens of each molecule, written canonically first: float64 [N].

        Raises:
            ValueError: A string that is no molecule; names it.
        """
        model, written = self._fitted(), self._written(X)
        return np.array([float(nll.double().mean().exp()) for nll in model.score(written)]) if written else np.zeros(0)

    def like(
        self,
        X: Iterable[str],  # noqa: N803
        num_candidates: int = 100,
        *,
        method: Literal["auto", "context", "train"] = "auto",
        **turning: Any,
    ) -> list[Candidate]:
        """New molecules like those given, the most similar first; none of them is in training.

        Args:
            X: SMILES, such as actives of an assay.
            num_candidates: How many to give back, at most.
            method: `context`: the model reads them; `train`: a copy learns from them; `auto`: context where the model
                has learned from sets.
            turning: Fields of `Turning`: passes, learning_rate, draws, temperature, ...

        Raises:
            ValueError: A string that is no molecule, or no string at all.
        """
        model, given = self._fitted(), list(dict.fromkeys(self._written(X)))
        if not given:
            raise ValueError("no molecules are given to be like")
        if method not in ("auto", "context", "train"):
            raise ValueError(f"method {method!r} is not one of auto, context, train")
        wanted = Turning(**turning)
        if method == "context" or (method == "auto" and model.sequence.sets):
            for name in {"passes", "learning_rate"} & {*turning}:
                raise ValueError(f"{name} is for method='train', and this model is shown the molecules")
            shown = self._read(given, wanted.seed)
            return draw_new(model, given, wanted, self.training_, context=shown).candidates[:num_candidates]
        return draw_new(turn(model, given, wanted), given, wanted, self.training_).candidates[:num_candidates]

    def evaluate(self, generated: Iterable[str], reference: Iterable[str] | None = None) -> dict[str, float]:
        """Metrics of MOSES by name, novelty against `training_`; see `compare_sets`.

        Args:
            generated: SMILES as they were generated.
            reference: Held-out molecules; None leaves out what needs them.
        """
        self._fitted()
        held_out = None if reference is None else Reference.of(read_valid(_strings(reference)))
        values = compare_sets(read_valid(_strings(generated)), training=self.training_, reference=held_out)
        return {value.metric: value.value for value in values}

    def save(self, folder: str | Path) -> None:
        """Write the model and what it has learned from to a folder, which the verbs of `sequence` take, too."""
        with files.replacing_folder(folder) as aside:
            self._fitted().save_pretrained(aside)
            content: dict[str, Any] = {"settings": self.get_params(), "training": sorted(self.training_)}
            content["context_length"] = self.context_length_
            files.write_json(aside / _SAVED, content)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """What `save` wrote.

        Raises:
            ValueError: Nothing of that kind is there.
        """
        saved = Path(folder) / _SAVED
        if not saved.is_file():
            raise ValueError(f"{folder}: no saved MoleculeGenerator; its folder holds {_SAVED}")
        content = json.loads(saved.read_text(encoding="utf-8"))
        generator = cls(**content["settings"])
        model = load_sequence_model(folder, "cpu")
        assert isinstance(model, SequenceModel)
        generator.model_, generator.training_ = model, set(content["training"])
        rejects: list[Reject] = []
        generator.rejects_, generator.history_ = rejects, []
        generator.context_length_ = content.get("context_length")
        return generator

    def _policy(self) -> MoleculePolicy:
        return MoleculePolicy(salts=self.salts, stereo=self.stereo)  # type: ignore[arg-type]

    def _written(self, X: Iterable[str]) -> list[str]:  # noqa: N803
        """Canonical SMILES of each.

        Raises:
            ValueError: A string that is no molecule; names it.
        """
        write, written = Standardiser(self._policy()), []
        for number, text in enumerate(_strings(X), 1):
            try:
                written.append(write(text))
            except Rejected as verdict:
                raise ValueError(f"string {number}: {verdict}") from None
        return written

    def _read(self, smiles: list[str], seed: int) -> FamilyContext:
        """What the model knows after reading molecules that leave room for one more in a training window."""
        room = None
        if self.context_length_ is not None and smiles:
            longest = max(map(len, smiles)) + 1  # at least as long as its tokens
            room = max(self.context_length_ - longest, longest)
        return read_set(self._fitted(), list(dict.fromkeys(smiles)), max_symbols=room, seed=seed)

    def _fitted(self) -> SequenceModel:
        if not hasattr(self, "model_"):
            raise NotFittedError("this MoleculeGenerator is not fitted yet: call fit with SMILES")
        return self.model_


def _strings(given: Iterable[str]) -> Sequence[str]:
    """A list of strings.

    Raises:
        ValueError: A single string, or something else among them.
    """
    if isinstance(given, str):
        raise ValueError("expected several SMILES, got one string; give a list such as ['CCO', 'CCN']")
    rows = list(given)
    for number, row in enumerate(rows, 1):
        if not isinstance(row, str):
            raise ValueError(f"string {number}: expected SMILES, got {type(row).__name__}")
    return rows
