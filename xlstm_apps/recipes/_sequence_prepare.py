"""The steps of `sequence prepare`."""

from pathlib import Path

from rich.console import Console

from xlstm_apps.biosequence.alphabets import get_alphabet
from xlstm_apps.biosequence.tokenizer import file_encoder
from xlstm_apps.datasets.sequences import LabelledSource, load_corpus
from xlstm_apps.datasets.sequences.loading import prepared_folder


def prepare(data: LabelledSource, output: str, alphabet: str) -> None:
    """Build the corpus and say what is in it."""
    folder = Path(output)
    if prepared_folder(data) is not None and data.regions_path is None:
        raise ValueError(f"{data.path[0]} is prepared already; give it to the other verbs as it is")
    codes = get_alphabet(alphabet)
    with Console(stderr=True).status("reading the sequences"):
        corpus = load_corpus(data, codes, folder, encode=file_encoder(codes), labels=True)
    report, console = corpus.report, Console()

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True, markup=False)

    say(f"{report['kept']:,} of {report['records']:,} records, {report['symbols']:,} symbols")
    for reason, count in report["left_out"].items():
        say(f"left out: {count:,} {reason}")
    for note in report["notes"]:
        say(note)
    labelled = sum(label is not None for label in corpus.labels)
    if labelled:
        say(f"{labelled:,} records have a label")
    say(f"prepared in {folder}: use it as --data.path {folder}")
