"""The question about a line that is laid out by hand, to hold beside what training asks."""

import torch
from torch import Tensor

from xlstm_apps.biosequence.alphabet import Alphabet
from xlstm_apps.biosequence.infilling import Line
from xlstm_apps.biosequence.objective import Question, default_weights


def ask_line(line: Line, alphabet: Alphabet, *, only_spans: bool = False) -> tuple[Question, Tensor]:
    """The causal question about homologs with spans taken out, [1, S - 1], and the positions of its inputs.

    Every token is asked for, those too that say where gaps are and where a sequence ends; wildcards are not.

    Args:
        line: As `infilling.lay_out_family` makes it, of at least two tokens.
        alphabet: What its ids are of.
        only_spans: Ask for what fills the gaps alone.
    """
    ids, positions, in_span = (torch.from_numpy(column)[None] for column in line)
    asked = default_weights(ids, alphabet)
    if only_spans:
        asked = asked * in_span
    else:
        special = torch.tensor([i for i in alphabet.specials if i not in (alphabet.pad, alphabet.unk)])
        asked = torch.where(torch.isin(ids, special), 1.0, asked)
    return Question(ids[:, :-1], ids[:, 1:], asked[:, 1:]), positions[:, :-1]
