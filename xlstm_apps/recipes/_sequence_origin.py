"""What a model was trained on, found again through its run."""

from collections.abc import Sequence
from pathlib import Path

from xlstm_apps.datasets.sequences import Corpus, SequenceData, Split, split_corpus
from xlstm_apps.datasets.sequences.corpus import MANIFEST
from xlstm_apps.training import RunFolder


def run_among(paths: Sequence[str]) -> Path | None:
    """The run that is given as what a model was trained on; None where these are files.

    Raises:
        ValueError: A run, and something beside it.
    """
    runs = [path for path in paths if (Path(path) / "run.json").is_file()]
    if runs and len(paths) > 1:
        raise ValueError(f"training: {runs[0]} is a run, which is given alone")
    return Path(runs[0]) if runs else None


def split_of_run(path: Path, alphabet: str, kind: str) -> tuple[Corpus, Split]:
    """The corpus of a run, and the parts as the run split it.

    Args:
        path: Its folder.
        alphabet: What it has to be of.
        kind: What such sequences are called.

    Raises:
        ValueError: The run is of another alphabet, or has no corpus.
    """
    data = SequenceData(**RunFolder(path).config["data"])
    corpus = Corpus(path / "corpus" if (path / "corpus" / MANIFEST).is_file() else Path(data.path[0]))
    if corpus.alphabet["name"] != alphabet:
        raise ValueError(f"{path}: this run is about {corpus.alphabet['name']}, not about {kind}")
    return corpus, split_corpus(data, corpus)
