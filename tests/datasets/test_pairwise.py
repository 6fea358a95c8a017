"""Identity of aligned sequences against a plain table, and the nearest of many."""

import math

import numpy as np
import pytest

from xlstm_apps.datasets.sequences.pairwise import Nearest, aligned_identity, nearest


def by_table(a: bytes, b: bytes) -> float:
    """The same by filling the table cell by cell: best score, then most equal symbols."""
    table = [[(-2 * (i + j), 0) for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            same = a[i - 1] == b[j - 1]
            score, equal = table[i - 1][j - 1]
            gaps = [(table[x][y][0] - 2, table[x][y][1]) for x, y in ((i - 1, j), (i, j - 1))]
            table[i][j] = max((score + (2 if same else -1), equal + same), *gaps)
    return table[-1][-1][1] / len(a)


def test_identity_is_that_of_the_best_alignment():
    draw = np.random.default_rng(0)
    for _ in range(60):
        a, b = (bytes(draw.choice(list(b"ACDE"), n).tolist()) for n in draw.integers((1, 0), 14))
        assert aligned_identity(a, b) == pytest.approx(by_table(a, b))


def test_identity_of_equal_shifted_and_empty_sequences():
    assert aligned_identity(b"MKTAYIAK", b"MKTAYIAK") == 1
    assert aligned_identity(b"MKTAYIAK", b"GGMKTAYIAKGG") == 1
    assert aligned_identity(b"MKTAYIAK", b"MKTAIAK") == 7 / 8
    assert aligned_identity(b"MK", b"") == 0 and math.isnan(aligned_identity(b"", b"MK"))


def test_the_nearest_is_found_and_a_sequence_is_not_its_own():
    draw = np.random.default_rng(1)
    known = [bytes(draw.choice(list(b"ACDEFGHIKLMNPQRSTVWY"), 80).tolist()) for _ in range(30)]
    near = known[7][:40] + b"G" + known[7][41:]
    assert nearest([near], known) == [Nearest(7, pytest.approx(79 / 80, abs=1 / 79))]
    assert nearest([known[3]], known) == [Nearest(3, 1.0)]
    (other,) = nearest([known[3]], known, apart=[3])
    assert other.index != 3 and 0.1 < other.identity < 0.5
    assert nearest([known[3]], [known[3], known[3]], apart=[1]) == [Nearest(0, 1.0)]
    assert nearest([b"MK", b"A"], known[:2])[0].index in (0, 1)  # too short to have words


def test_nothing_to_compare_with_has_no_nearest():
    for found in (*nearest([b"MKT"], []), *nearest([b"MKT"], [b"MKT"], apart=[0])):
        assert found.index == -1 and math.isnan(found.identity)
