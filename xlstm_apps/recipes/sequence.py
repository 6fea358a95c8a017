"""Learn the language of sequences: DNA, proteins, molecules, text.

xlstm-apps sequence validate --data.path genome.fa.gz
xlstm-apps sequence train --data.path genome.fa.gz
"""

from typing import Literal

from xlstm_apps.datasets.sequences.config import SequenceSource

AlphabetName = Literal["dna", "protein", "smiles", "text"]


def validate(data: SequenceSource, alphabet: AlphabetName = "dna", output: str | None = None) -> int:
    """Look through files of sequences and say what is wrong with them: exit code 0 clean, 1 bad records, 2 unusable.

    Everything is read, also where a training would stop at the first bad record.

    Args:
        data: The files.
        alphabet: Which symbols they should hold.
        output: File for the report as JSON. None: only the summary on the standard output.
    """
    from xlstm_apps.recipes import _sequence_validate as steps

    return steps.validate(data, alphabet, output)
