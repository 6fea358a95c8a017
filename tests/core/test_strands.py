"""Both strands of rows and of packed documents."""

import pytest
import torch

from xlstm_apps.core.strands import align_strands, both_strands, check_complement, mirror, reverse_complement

COMPLEMENT = torch.tensor([0, 4, 3, 2, 1])
BORDERS = torch.tensor([0, 1, 4, 9])


def test_mirror_turns_every_document_around():
    x = torch.arange(9)[None]
    assert mirror(x).tolist() == [[8, 7, 6, 5, 4, 3, 2, 1, 0]]
    assert mirror(x, BORDERS).tolist() == [[0, 3, 2, 1, 8, 7, 6, 5, 4]]


@pytest.mark.parametrize("cu_seqlens", [None, BORDERS])
def test_twice_is_the_same(cu_seqlens):
    ids = torch.randint(5, (1, 9))
    once = reverse_complement(ids, COMPLEMENT, cu_seqlens)
    assert torch.equal(reverse_complement(once, COMPLEMENT, cu_seqlens), ids)
    assert not torch.equal(once, ids)


def test_packed_documents_are_complemented_one_by_one():
    ids = torch.randint(5, (1, 9))
    alone = [reverse_complement(ids[:, a:b], COMPLEMENT) for a, b in [(0, 1), (1, 4), (4, 9)]]
    assert torch.equal(reverse_complement(ids, COMPLEMENT, BORDERS), torch.cat(alone, 1))


def test_strands_are_aligned():
    ids = torch.randint(1, 5, (2, 9))
    both, borders = both_strands(ids, COMPLEMENT)
    own, other = align_strands(both)
    assert borders is None and torch.equal(own, ids) and torch.equal(other, COMPLEMENT[ids])
    row = ids[:1]
    both, borders = both_strands(row, COMPLEMENT, BORDERS)
    own, other = align_strands(both, BORDERS)
    assert borders.tolist() == [0, 1, 4, 9, 10, 13, 18]
    assert torch.equal(own, row) and torch.equal(other, COMPLEMENT[row])


@pytest.mark.parametrize("complement", [[0, 1], [1, 2, 0], [0, 1, 3]])
def test_no_complement(complement):
    with pytest.raises(ValueError, match="complement must map"):
        check_complement(complement, 3)
