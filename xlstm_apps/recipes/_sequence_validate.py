"""The steps of `sequence validate`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from xlstm_apps.biosequence.alphabets import get_alphabet
from xlstm_apps.biosequence.tokenizer import file_encoder
from xlstm_apps.datasets.sequences import QualityReport, clean_records, open_corpus
from xlstm_apps.datasets.sequences.config import SequenceSource
from xlstm_apps.datasets.sequences.loading import plain_policy, prepared_folder, read_source
from xlstm_apps.datasets.sequences.molecule_records import check_molecules, curator
from xlstm_apps.recipes._tables import check_target
from xlstm_apps.recipes._terminal import tell
from xlstm_apps.training import files

MOST_LETTERS = 20


def validate(data: SequenceSource, alphabet: str, output: str | None) -> int:
    """Read everything, print what was found, and return the exit code."""
    if output is not None:
        check_target(Path(output), (".json",), "output")
    try:
        found = inspect(data, alphabet)
    except ValueError as error:
        if output is not None:
            files.write_json(output, {"exit_code": 2, "error": str(error)})
        raise
    show(found)
    if output is not None:
        files.write_json(output, found)
        tell(Console(stderr=True), [f"report in {output}"])
    return found["exit_code"]


def inspect(data: SequenceSource, alphabet: str) -> dict[str, Any]:
    """The quality report of all records: what a policy calls an error is counted instead.

    Raises:
        ValueError: a file cannot be read, or holds another alphabet.
    """
    codes = get_alphabet(alphabet)
    encode = file_encoder(codes)
    check_molecules(data, codes)
    if prepared_folder(data) is not None:  # what was wrong with its records was settled when it was made
        with open_corpus(data, codes) as corpus:
            return with_duplicates(corpus.report, data)
    lenient = replace(
        data,
        on_bad="skip" if data.on_bad == "error" else data.on_bad,
        duplicates="suffix" if data.duplicates == "error" else data.duplicates,
        ambiguous="skip" if data.ambiguous == "error" else data.ambiguous,
    )
    if data.regions_path is not None:
        with open_corpus(lenient, codes, encode=encode) as corpus:
            return with_duplicates(corpus.report, data)
    report = QualityReport()
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    with progress:
        task = progress.add_task("reading")
        curate = curator(replace(lenient, repeats="first" if data.repeats == "error" else data.repeats), codes)
        for _ in clean_records(read_source(data, codes.name), codes, plain_policy(lenient), report, encode, curate):
            progress.update(task, description=f"reading: {report.kept:,} records, {report.symbols:,} symbols")
    if report.records == 0:
        raise ValueError(f"{', '.join(data.path)}: there is no record in it")
    return {**with_duplicates(report.to_dict(), data), "summary": report.summary()}


def with_duplicates(report: dict[str, Any], data: SequenceSource) -> dict[str, Any]:
    """The report, with names that a training would stop at counted as bad."""
    bad = data.duplicates == "error" and report["renamed"] > 0
    return {**report, "exit_code": max(report["exit_code"], int(bad))}


def show(report: dict[str, Any]) -> None:
    """The findings for a person, on the standard output."""
    lines = [report.get("summary") or f"{report['kept']:,} records, {report['symbols']:,} symbols"]
    if "summary" not in report:
        lines += report["notes"]
    letters = sorted(report["composition"].items(), key=lambda item: -item[1])
    total = max(1, sum(count for _, count in letters))
    if letters:
        shown = ", ".join(f"{_shown(letter)} {count / total:.1%}" for letter, count in letters[:MOST_LETTERS])
        lines.append(f"composition: {shown}{' ...' if len(letters) > MOST_LETTERS else ''}")
    lines += [f"  {example}" for example in report["examples"]]
    words = {
        0: "clean",
        1: "usable, but a training stops at such records or leaves them out: see --data.on_bad, --data.duplicates",
        2: f"unusable: {'every symbol is ambiguous' if report['kept'] else 'no record is left'}",
    }
    tell(Console(), [*lines, words[report["exit_code"]]])


def _shown(letter: str) -> str:
    """A character of texts that could not be seen, or is a byte of one, in words."""
    if letter > "~":
        return f"byte 0x{ord(letter):02x}"
    return letter if letter > " " else repr(letter)
