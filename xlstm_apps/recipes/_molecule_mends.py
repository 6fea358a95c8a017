"""Files of molecules are read as sequences are, but what is wrong with one is mended by options of the verb at hand."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

NAME_COLUMN = "name one with data.sequence_column"
SKIP_BAD = "set data.on_bad to 'skip' to leave such records out"
OF_DATA = {
    NAME_COLUMN: "name one with data.smiles_column",
    SKIP_BAD: "take it out, or let `xlstm-apps sequence filter` leave out all such",
}
"""Of a section `data` of molecules."""
OF_FILES = {
    NAME_COLUMN: "call the one that holds them smiles",
    "set data.format to table, or call": "call",
    "needs data.format smi, a text of any other kind data.format text": "has the ending .smi",
}
"""Where nothing but files is given."""
OF_GENERATED = {NAME_COLUMN: "name one with smiles_column", "data.format": "format"}
"""Of `evaluate`, about the file it judges."""


@contextmanager
def mending(words: Mapping[str, str]) -> Iterator[None]:
    """Let errors of reading name the options there are.

    Args:
        words: What to say for what.

    Raises:
        ValueError: as what is done within.
    """
    try:
        yield
    except ValueError as error:
        said = str(error)
        for theirs, ours in words.items():
            said = said.replace(theirs, ours)
        raise ValueError(said) from None
