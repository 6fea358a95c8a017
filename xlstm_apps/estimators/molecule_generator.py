"""MoleculeGenerator: a language model of molecules in the manner of scikit-learn, fit and generate on SMILES."""

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from rich.console import Console
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from xlstm_apps.biosequence import SequenceConfig, SequenceModel, file_encoder, get_alphabet
from xlstm_apps.biosequence.sizes import SMALL
from xlstm_apps.core.config import check_options, xLSTMConfig
from xlstm_apps.datasets.molecules.curation import Curator, Reject
from xlstm_apps.datasets.molecules.metrics import Reference, compare_sets, read_valid
from xlstm_apps.datasets.molecules.standardise import MoleculePolicy, Rejected, Standardiser
from xlstm_apps.datasets.sequences import Corpus, SequenceData, SequencePolicy
from xlstm_apps.datasets.sequences.record import Record
from xlstm_apps.estimators.molecule_likeness import Candidate, Turning, draw_new, turn
from xlstm_apps.estimators.sequence_generation import generate_sequences
from xlstm_apps.estimators.sequence_plan import plan_sequences
from xlstm_apps.estimators.sequence_saved import load_sequence_model
from xlstm_apps.training import FitConfig, files

_SAVED = "molecules.json"


class MoleculeGenerator(BaseEstimator):
    """Learns the language of molecules from SMILES, and makes up new ones.

        generator = MoleculeGenerator().fit(smiles)
        generator.generate(100)
        generator.like(actives, num_candidates=20)

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
        val_fraction: Share of the molecules on which the best epoch is chosen; 0: the last epoch.
        accelerator: `auto`, `cpu`, `cuda` or `mps`.
        seed: Of weights, order and the validation part.
        progress: Show a progress bar on the error stream.

    Attributes:
        model_: The fitted `SequenceModel`.
        training_: Canonical SMILES it has learned from or was chosen on: what comes up again is not new.
        rejects_: What was left out, with reasons.
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
        self.val_fraction = val_fraction
        self.accelerator = accelerator
        self.seed = seed
        self.progress = progress

    def fit(self, X: Iterable[str], y: Any = None) -> Self:  # noqa: N803 - names of scikit-learn
        """Learn from SMILES; `y` is not looked at.

        Raises:
            ValueError: A single string, or too few molecules to learn from.
        """
        alphabet = get_alphabet("smiles")
        curator = Curator(self._policy(), "skip", "first")
        options = {"slstm_at": "all", **(self.backbone or {})}
        check_options(options, [field.name for field in fields(xLSTMConfig)], section="backbone.")
        backbone = replace(SMALL, embedding_dim=self.embedding_dim, num_blocks=self.num_blocks, **options)
        fit = FitConfig(
            max_epochs=self.max_epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            accelerator=self.accelerator,  # type: ignore[arg-type]
        )
        rows = (Record(id=str(i), sequence=text.encode()) for i, text in enumerate(_strings(X)))
        data = SequenceData(
            path=["memory"], split="random", val_fraction=self.val_fraction, test_fraction=0.0, split_seed=self.seed
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
        self.model_, self.rejects_ = model.eval(), curator.rejects
        return self

    def generate(
        self,
        num_molecules: int = 100,
        *,
        prompt: str = "",
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
            prompt: What each begins with, such as a scaffold.
            valid: Draw molecules only; False: whatever comes.
            temperature: 1 draws as the model says, less keeps to what is probable.
            top_k: Draw among the k most probable tokens only.
            top_p: Draw among the most probable tokens that together reach this probability only.
            max_length: Most tokens to add.
            seed: Of the draws.
        """
        batches = generate_sequences(
            self._fitted(), [prompt], per_prompt=num_molecules, max_length=max_length, temperature=temperature,
            top_k=top_k, top_p=top_p, seed=seed, valid=valid,
        )  # fmt: skip
        return [made.text for batch in batches for made in batch]

    def perplexity(self, X: Iterable[str]) -> np.ndarray:  # noqa: N803
        """Of the tokens of each molecule, written canonically first: float64 [N].

        Raises:
            ValueError: A string that is no molecule; names it.
        """
        model, write = self._fitted(), Standardiser(self._policy())
        written = []
        for number, text in enumerate(_strings(X), 1):
            try:
                written.append(write(text))
            except Rejected as verdict:
                raise ValueError(f"string {number}: {verdict}") from None
        return np.array([float(nll.double().mean().exp()) for nll in model.score(written)]) if written else np.zeros(0)

    def like(
        self,
        X: Iterable[str],  # noqa: N803
        num_candidates: int = 100,
        **turning: Any,
    ) -> list[Candidate]:
        """New molecules like those given, the most similar first; none of them is in training.

        Args:
            X: SMILES, such as actives of an assay.
            num_candidates: How many to give back, at most.
            turning: Fields of `Turning`: passes, learning_rate, draws, temperature, ...

        Raises:
            ValueError: A string that is no molecule, or no string at all.
        """
        model, write = self._fitted(), Standardiser(self._policy())
        given = list(dict.fromkeys(write(text) for text in _strings(X)))
        if not given:
            raise ValueError("no molecules are given to be like")
        wanted = Turning(**turning)
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
            content = {"settings": self.get_params(), "training": sorted(self.training_)}
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
        return generator

    def _policy(self) -> MoleculePolicy:
        return MoleculePolicy(salts=self.salts, stereo=self.stereo)  # type: ignore[arg-type]

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
