"""Gaps in proteins: patterns as they are written, fillings within their ranges, as probable as they are said to be."""

import numpy as np
import pytest
import torch
from sequence_models import layers, make
from test_family import HOMOLOGS, PROTEIN, TOKENIZER, ids, protein

from xlstm_apps.biosequence import SequenceConfig
from xlstm_apps.biosequence.family import read_homologs
from xlstm_apps.biosequence.gaps import fill_gaps, filled_texts, parse_pattern
from xlstm_apps.biosequence.infilling import lay_out


@pytest.mark.parametrize(
    ("text", "pieces", "gaps"),
    [
        ("MKT[5-12]GG[*]", ["MKT", "GG", ""], [(5, 12), (1, 9)]),
        ("[5]", ["", ""], [(5, 5)]),
        (" mkt [ 5 - 12 ]\n gg", ["MKT", "GG"], [(5, 12)]),
        ("M[3-]K[20-]", ["M", "K", ""], [(3, 9), (20, 20)]),
        ("[0-2]M[1][2]J", ["", "M", "", "X"], [(0, 2), (1, 1), (2, 2)]),
        ("".join(f"M[{n}]" for n in range(1, 8)), ["M"] * 7 + [""], [(n, n) for n in range(1, 8)]),
    ],
)
def test_patterns_are_read(text, pieces, gaps):
    pattern = parse_pattern(text, 9)
    assert [TOKENIZER.decode(piece) for piece in pattern.pieces] == pieces and list(pattern.gaps) == gaps
    assert pattern.exact == all(a == b for a, b in gaps)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("MKT", "names no gap"),
        ("", "names no gap"),
        ("MKT[5", r"'\[5' at position 4 is no gap such as \[5\], \[5-12\] or \[\*\]"),
        ("MKT5]", r"'\]' at position 5 is no gap"),
        ("MKT[]", r"'\[\]' at position 4"),
        ("M[a]", r"'\[a\]' at position 2"),
        ("M[[5]]", r"'\[\[5\]\]' at position 2"),
        ("M[12-5]", r"gap \[12-5\] at position 2 falls from 12 to 5"),
        ("M[0]", r"gap \[0\] at position 2 holds nothing"),
        ("M[5-1000000]", r"gap \[5-1000000\] at position 2 is of more than 10,000 residues"),
        ("M1[5]", "in 'M1', from position 1 on: '1' at position 2"),
        ("M[5]K*", r"in 'K\*', from position 5 on: '\*' at position 2"),
    ],
)
def test_what_is_no_pattern_is_said(text, message):
    with pytest.raises(ValueError, match=message):
        parse_pattern(text)
    with pytest.raises(ValueError, match="max_gap 0"):
        parse_pattern("M[*]", 0)


@torch.no_grad()
def judged(model, filled, pattern, state):
    """log p of the fillings, from one reading of the finished line."""
    spans, at = [], 0
    for piece, filling in zip(pattern.pieces, filled.fillings, strict=False):
        spans.append((at + len(piece), at + len(piece) + len(filling)))
        at = spans[-1][1]
    line = lay_out(filled.ids, spans, PROTEIN)
    tokens, places = torch.from_numpy(line.ids)[None], torch.from_numpy(line.positions)[None]
    given = {} if model.config.rotary_base is None else {"positions": places}
    logits, _ = model(tokens, state, return_state=True, **given)
    chances = logits.log_softmax(-1)[0, :-1].gather(-1, tokens[0, 1:, None])[:, 0]
    return float(chances[torch.from_numpy(line.in_span[1:])].sum())


@pytest.mark.parametrize("rotary", [100.0, None])
@pytest.mark.parametrize("text", ["MKT[2-5]GG[*]", "[3]MKT", "M[1][2-3]K[0-1]", "[1]A[1]A[1]A[1]A[1]A[1]A[1]"])
def test_fillings_keep_to_their_ranges_and_are_as_probable_as_said(text, rotary):
    torch.manual_seed(1)
    model = make(SequenceConfig(alphabet="protein", infill_spans=1.0), layers("mlstm", rotary_base=rotary))
    family, pattern = read_homologs(model, [ids(*HOMOLOGS), ids(HOMOLOGS[0])]), parse_pattern(text, 6)
    for rows in (None, [0, 1, 0, 1, 0, 1]):
        state = None if rows is None else family.state.select(rows)
        made = fill_gaps(model, pattern, 6, state=state, generator=torch.Generator().manual_seed(3))
        for n, one in enumerate(made):
            assert all(a <= len(f) <= b for f, (a, b) in zip(one.fillings, pattern.gaps, strict=True))
            assert np.isin(np.concatenate(one.fillings), PROTEIN.definite).all()
            own = None if rows is None else family.state.select([rows[n]])
            assert one.log_likelihood == pytest.approx(judged(model, one, pattern, own), abs=1e-8)
        texts = filled_texts(made)
        assert len({whole for whole, _ in texts}) > 1
        pieces = [TOKENIZER.decode(piece) for piece in pattern.pieces]
        assert all(
            whole == pieces[0] + "".join(f + piece for f, piece in zip(parts, pieces[1:], strict=True))
            for whole, parts in texts
        )
    assert pattern.exact or len({len(filling) for one in made for filling in one.fillings}) > 1


def test_the_same_seed_gives_the_same_and_greedy_the_most_probable():
    model, pattern = protein(infill_spans=1.0), parse_pattern("MK[4]TA")
    made = [filled_texts(fill_gaps(model, pattern, 2, generator=torch.Generator().manual_seed(n))) for n in (0, 0, 1)]
    assert made[0] == made[1] != made[2]
    greedy = fill_gaps(model, pattern, temperature=0.0)[0]
    line = lay_out(np.concatenate([*ids("MK"), np.full(4, 24), *ids("TA")]), [(2, 6)], PROTEIN)
    tokens, places = line.ids[:8].tolist(), line.positions.tolist()
    for symbol in greedy.fillings[0].tolist():
        given = {"positions": torch.tensor([places[: len(tokens)]])}
        logits = model(torch.tensor([tokens]), **given)[0, -1]
        assert symbol == logits[list(PROTEIN.definite)].argmax() + PROTEIN.definite[0]
        tokens.append(symbol)


def test_models_that_cannot_are_refused():
    with pytest.raises(ValueError, match=r"without gaps to fill.*infill_spans 1"):
        fill_gaps(protein(), parse_pattern("M[5]"))
    masked = make(SequenceConfig(alphabet="protein", objective="masked"), layers(direction="bidirectional"))
    with pytest.raises(ValueError, match="a masked model cannot fill gaps of several"):
        fill_gaps(masked, parse_pattern("M[5]"))
