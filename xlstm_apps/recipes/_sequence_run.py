"""What trainings of sequences share: options that go together, the corpus in its run folder, the last lines."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xlstm_apps.biosequence import SequenceConfig, file_encoder
from xlstm_apps.biosequence.vocabularies import written_alphabet
from xlstm_apps.datasets.sequences import Corpus, load_corpus
from xlstm_apps.datasets.sequences.config import SequenceData, SequenceSource
from xlstm_apps.datasets.sequences.corpus import MANIFEST
from xlstm_apps.datasets.sequences.corpus_writer import fingerprint
from xlstm_apps.datasets.sequences.loading import file_class, prepared_folder, source_files
from xlstm_apps.training import RunFolder


def stem(data: SequenceSource) -> str:
    """What a run is named after."""
    return file_class(data.path[0].rstrip("/")).replace("*", "").replace("?", "") or "sequences"


def check_used(data: SequenceData, options: Iterable[str], verb: str) -> None:
    """Refuse options of the `data` section that only another verb has a use for.

    Raises:
        ValueError: One of them is given.
    """
    for name in options:
        if getattr(data, name) != getattr(SequenceData, name):
            raise ValueError(f"data.{name} is for `sequence {verb}`; leave it out")


def check_objective(sequence: SequenceConfig, options: Iterable[str] = ()) -> None:
    """Refuse settings of a new model that its objective, or what it is made for, has no use for.

    Args:
        sequence: The settings.
        options: Names of those that would do nothing whatever the objective.

    Raises:
        ValueError: One of them is given.
    """
    unused = {"causal": ("mask_rate", "mask_token_share", "mask_random_share"), "masked": ("begin_token",)}
    gaps = () if sequence.infills else ("infill_share", "infill_most")
    for name in (*options, *unused.get(sequence.objective, ()), *gaps):
        if getattr(sequence, name) != getattr(SequenceConfig, name):
            why = "for predictions" if name in options else f"with sequence.objective {sequence.objective}"
            why = "without sequence.infill_spans" if name in gaps else why
            raise ValueError(f"sequence.{name} does nothing {why}; leave it out")


def data_fingerprint(data: SequenceSource) -> str:
    """Hash of all files that the sequences come from."""
    prepared = prepared_folder(data)
    sources = [prepared / MANIFEST] if prepared is not None else source_files(data)
    sources += [path for name in ("regions_path", "clusters_path") if (path := getattr(data, name, None))]
    return hashlib.sha256("".join(fingerprint(source) for source in sources).encode()).hexdigest()


@contextmanager
def corpus_of(data: SequenceSource, sequence: SequenceConfig, path: Path, labels: bool = False) -> Iterator[Corpus]:
    """The corpus: in the run's folder already, prepared before, or built beside the folder that will take it."""
    codes = written_alphabet(sequence)
    if (path / "corpus" / MANIFEST).is_file():
        yield Corpus(path / "corpus")
        return
    if prepared_folder(data) is not None and data.regions_path is None:
        yield load_corpus(data, codes, path / "corpus", labels=labels)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
    try:
        yield load_corpus(data, codes, aside / "corpus", encode=file_encoder(codes), labels=labels)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def take_in(corpus: Corpus, folder: RunFolder) -> None:
    """Into the folder of the run with a corpus that was built beside it."""
    if corpus.path.parent.name.startswith(f".{folder.path.name}-"):
        corpus.move(folder.path / "corpus")


def read_lines(report: dict[str, Any], alphabet: str) -> list[str]:
    """What was read, and what of it left out, in lines.

    Args:
        report: Of a corpus.
        alphabet: Its name.
    """
    kept, read = f"{report['kept']:,} of {report['records']:,} records", f"{report['symbols']:,} symbols of {alphabet}"
    return [f"data      {kept}, {read}"] + [f"          {why}: {count:,}" for why, count in report["left_out"].items()]


def results(folder: RunFolder, verb: str) -> dict[str, str]:
    """What is in the folder of a run, and the verb its model can be used with."""
    return {
        "report.html": "plots, comparison, data quality: open it in a browser",
        "evaluation/": "the numbers behind them, as CSV",
        "model/": f"to use it: xlstm-apps sequence {verb} {folder.path} --data.path FILE",
    }
