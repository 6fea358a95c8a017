"""The steps of `sequence prepare`."""

from pathlib import Path

from rich.console import Console

from xlstm_apps.biosequence.alphabets import get_alphabet
from xlstm_apps.biosequence.tokenizer import file_encoder
from xlstm_apps.datasets.sequences import LabelledSource, load_corpus
from xlstm_apps.datasets.sequences.loading import prepared_folder
from xlstm_apps.estimators.sequence_stretches import findings
from xlstm_apps.recipes._terminal import tell


def prepare(data: LabelledSource, output: str, alphabet: str) -> None:
    """Build the corpus and say what is in it."""
    folder = Path(output)
    if prepared_folder(data) is not None and data.regions_path is None:
        raise ValueError(f"{data.path[0]} is prepared already; give it to the other verbs as it is")
    codes = get_alphabet(alphabet)
    with Console(stderr=True).status("reading the sequences"):
        corpus = load_corpus(data, codes, folder, encode=file_encoder(codes), labels=True)
    report = corpus.report
    lines = [f"{report['kept']:,} of {report['records']:,} records, {report['symbols']:,} symbols"]
    lines += [*findings(report), *report["notes"]]
    labelled = sum(label is not None for label in corpus.labels)
    if labelled:
        lines.append(f"{labelled:,} records have a label")
    tell(Console(), [*lines, f"prepared in {folder}: use it as --data.path {folder}"])
