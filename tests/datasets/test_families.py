"""Families of proteins: which belong together, how they are drawn, and the rows that training and tests read."""

import pickle

import numpy as np
import pytest
import torch

from xlstm_apps.biosequence import get_tokenizer
from xlstm_apps.datasets.sequences import Corpus, Record, SequenceData, Spans, load_corpus, split_corpus
from xlstm_apps.datasets.sequences import families as module
from xlstm_apps.datasets.sequences.families import Families, FamilyWindows, HeldOutMembers, homologs_of
from xlstm_apps.training import BatchLoader

TOKENIZER = get_tokenizer("protein")
PROTEIN = TOKENIZER.alphabet
END, PAD = PROTEIN.end, PROTEIN.pad


def letters(length, seed):
    return "".join(np.random.default_rng(seed).choice(list("LAGVSERTIDPKQNFYMHWC"), length))


@pytest.fixture
def corpus(tmp_path):
    """A family of six, one of three with a near copy, one without a group, one of weight 0."""
    first = letters(40, 9)
    rows = [(letters(10 + n, n), "six", 1.0) for n in range(6)]
    rows += [(first, "three", 1.0), (first[:-1] + "W", "three", 1.0), (letters(12, 8), "three", 1.0)]
    rows += [(letters(9, 7), None, 1.0), (letters(11, 10), "six", 0.0)]
    records = [
        Record(id=f"p{n}", sequence=text.encode(), group=group, weight=weight)
        for n, (text, group, weight) in enumerate(rows)
    ]
    return Corpus.build(records, tmp_path / "corpus", PROTEIN)


def homologs(row):
    """Texts of a row, each of which must be closed."""
    parts = "".join("|" if i == END else "~" if i == PAD else PROTEIN.tokens[i] for i in row.tolist()).rstrip("~")
    assert parts.endswith("|")
    return parts[:-1].split("|")


def test_families_and_weights(corpus):
    families = Families.of(corpus, Spans.whole(corpus))
    assert families.names == ["six", "three", "p9"]
    assert [m.tolist() for m in families.members] == [[0, 1, 2, 3, 4, 5, 10], [6, 7, 8], [9]]
    assert families.weights.tolist() == [1] * 6 + [0.5, 0.5, 1, 1, 0]
    assert families.fill().tolist() == [sum(range(10, 16)) + 6, 40 + 40 + 12 + 3, 10]
    few = Families.around(corpus, Spans.whole(corpus)[:1], Spans.whole(corpus))
    assert few.names == ["six"] and few.weights.tolist() == [1] * 6 + [0]


def test_near_copies_are_looked_for_in_portions(corpus, monkeypatch):
    whole = Families.of(corpus, Spans.whole(corpus)).weights
    monkeypatch.setattr(module, "_AT_ONCE", 50)
    assert (Families.of(corpus, Spans.whole(corpus)).weights == whole).all()


def test_draws_fill_the_room_and_follow_the_weights(corpus):
    families, rng = Families.of(corpus, Spans.whole(corpus)), np.random.default_rng(0)
    for room in (5, 11, 30, 200):
        for _ in range(20):
            drawn = families.draw(0, room, rng)
            assert len(set(drawn)) == len(drawn) and 10 not in drawn  # weight 0 is never shown
            assert sum(families.spans.lengths[drawn] + 1) <= room
            assert room != 200 or sorted(drawn) == [0, 1, 2, 3, 4, 5]
    alone = [families.draw(1, 41, rng, without=[8])[0] for _ in range(400)]
    assert 8 not in alone and 150 < alone.count(6) < 250
    first = [families.draw(1, 41, rng) for _ in range(400)]
    assert 150 < sum(8 in row for row in first) < 260  # as much as both copies together: 1 / (1 + 1/2 + 1/2)


def test_windows_hold_closed_homologs_of_one_family(corpus):
    data = FamilyWindows(corpus, Families.of(corpus, Spans.whole(corpus)), 45, END, alone=0.0)
    assert len(data) == 2 + 3 + 1
    texts = [TOKENIZER.decode(corpus[n]) for n in range(len(corpus))]
    batch = data.draw(range(6), np.random.default_rng(1))
    assert batch["ids"].dtype == torch.int64 and batch["ids"].shape[1] == int(batch["lengths"].max()) <= 45
    for n, (row, weights, length) in enumerate(zip(*(batch[k] for k in ("ids", "weights", "lengths")), strict=True)):
        members = [texts.index(text) for text in homologs(row)]
        assert {corpus.groups[m] for m in members} == {("six", "three", None)[(n >= 2) + (n >= 5)]}
        assert length == sum(len(texts[m]) + 1 for m in members)
        assert (weights[:length] == 1).all() and (weights[length:] == 0).all() and (row[length:] == PAD).all()
    single = FamilyWindows(corpus, data.families, 45, END, alone=1.0).draw(range(6), np.random.default_rng(1))
    assert all(len(homologs(row)) == 1 for row in single["ids"])


def test_long_records_are_shown_in_stretches(tmp_path):
    record = Record(id="long", sequence=letters(50, 0).encode(), group="a")
    corpus = Corpus.build([record], tmp_path / "c", PROTEIN)
    spans = Spans([0, 0], [0, 30], [30, 50], [1, 1])
    batch = FamilyWindows(corpus, Families.of(corpus, spans), 60, END, alone=0.0).draw([0], np.random.default_rng(0))
    ends = (batch["ids"][0] == END).nonzero()[:, 0].tolist()
    last = batch["ids"][0, :20].tolist() == corpus[0][30:].tolist()
    assert batch["weights"][0, ends].tolist() == (
        [1.0, 0.0] if last else [0.0, 1.0]
    )  # only the record's own end counts


@pytest.mark.parametrize("workers", [0, 2])
def test_the_walk_resumes_exactly_with_any_number_of_workers(corpus, workers):
    data = FamilyWindows(corpus, Families.of(corpus, Spans.whole(corpus)), 45, END, alone=0.3)

    def batches(start, count):
        loader = BatchLoader(data, 3, seed=5, shuffle=True, steps_per_epoch=6, num_workers=workers)
        loader.load_state_dict({"position": start})
        return [batch["ids"] for batch, _ in zip(loader, range(count), strict=False)]

    whole = batches(0, 6)
    torch.manual_seed(1)
    np.random.seed(1)
    assert all(torch.equal(a, b) for a, b in zip(whole[4:], batches(4, 2), strict=True))
    plain = BatchLoader(data, 3, seed=5, shuffle=True, steps_per_epoch=6)
    assert all(torch.equal(a, b["ids"]) for a, b in zip(whole, plain, strict=True))
    assert not torch.equal(whole[0], whole[3])
    assert pickle.loads(pickle.dumps(data))._owner.tolist() == data._owner.tolist()


def test_held_out_members_behind_their_homologs(corpus):
    spans = Spans.whole(corpus)
    families, targets = Families.of(corpus, spans), spans[np.array([0, 7, 9])]
    shown = homologs_of(corpus, targets, families, 100)
    assert sorted(shown[0]) == [1, 2, 3, 4, 5] and sorted(shown[1]) == [6, 8] and shown[2] == []
    assert shown == homologs_of(corpus, targets, families, 100)
    assert [len(row) for row in homologs_of(corpus, targets, families, 53)] == [3, 0, 0]
    data = HeldOutMembers(corpus, targets, shown, spans, END)
    batch = data.__getitems__([0, 1, 2])
    assert batch["lengths"].tolist() == data.sizes.tolist() and batch["record"].tolist() == [0, 7, 9]
    for row, weights, length, n in zip(batch["ids"], batch["weights"], batch["lengths"], (0, 7, 9), strict=True):
        own = len(corpus[n]) + 1
        assert homologs(row[:length])[-1] == TOKENIZER.decode(corpus[n])
        assert weights[: length - own].sum() == 0 and (weights[length - own : length] == 1).all()
    mixed = HeldOutMembers(corpus, targets, shown, spans, END, closed=False, shuffled=True).__getitems__([0, 1, 2])
    for plain, other in zip(batch["ids"][:2], mixed["ids"], strict=False):
        texts, shuffled = homologs(plain), homologs(torch.cat([other[other != PAD], torch.tensor([END])]))
        assert texts[-1] == shuffled[-1] and texts[:-1] != shuffled[:-1]
        assert [sorted(text) for text in texts] == [sorted(text) for text in shuffled]


def test_a_copy_of_the_target_is_not_shown(tmp_path):
    text = letters(20, 0)
    rows = [(text, "a"), (text, "a"), (letters(20, 1), "a")]
    records = [Record(id=str(n), sequence=t.encode(), group=g) for n, (t, g) in enumerate(rows)]
    corpus = Corpus.build(records, tmp_path / "c", PROTEIN)
    spans = Spans.whole(corpus)
    assert homologs_of(corpus, spans[:1], Families.of(corpus, spans), 100) == [[2]]


def test_files_are_families(tmp_path):
    (tmp_path / "one.fa").write_text(f">a\n{letters(20, 0)}\n>b\n{letters(20, 1)}\n")
    (tmp_path / "two.a3m").write_text(">q\nMKTA\n>h\nM-TAa\n")
    block = "# STOCKHOLM 1.0\n#=GF ID {0}\n{0}/1 MKTAY\n{0}/2 MKSAY\n//\n"
    (tmp_path / "pfam.sto").write_text(block.format("kinase") + block.format("globin"))
    data = SequenceData(path=[str(tmp_path)], families="file")
    corpus = load_corpus(data, PROTEIN, tmp_path / "corpus")
    names = [str(group) for group in corpus.groups]
    assert names == ["one", "one", "kinase", "kinase", "globin", "globin", "two", "two"]
    again = SequenceData(path=[str(tmp_path / "corpus")], families="file")
    assert load_corpus(again, PROTEIN, tmp_path / "other").groups == corpus.groups


def test_mistakes(tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.fa").write_text(f">{folder}\n{letters(20, 0)}\n")
    paths = [str(tmp_path / folder / "same.fa") for folder in ("x", "y")]
    with pytest.raises(ValueError, match="two files have one name"):
        load_corpus(SequenceData(path=paths, families="file"), PROTEIN, tmp_path / "c")
    (tmp_path / "t.csv").write_text("id,sequence\na,MKTAY\n")
    assert load_corpus(
        SequenceData(path=[str(tmp_path / "t.csv")], families="file"), PROTEIN, tmp_path / "t"
    ).groups == ["t"]
    load_corpus(SequenceData(path=paths[:1]), PROTEIN, tmp_path / "plain")
    with pytest.raises(ValueError, match="prepared without families"):
        load_corpus(SequenceData(path=[str(tmp_path / "plain")], families="file"), PROTEIN, tmp_path / "c")
    nothing = Corpus.build([Record(id="a", sequence=b"MKT", group="g", weight=0.0)], tmp_path / "n", PROTEIN)
    with pytest.raises(ValueError, match="all have weight 0"):
        FamilyWindows(nothing, Families.of(nothing, Spans.whole(nothing)), 9, END, alone=0.0)
    with pytest.raises(ValueError, match=r"data\.alone is a share"):
        SequenceData(path=["x"], alone=0.5)
    with pytest.raises(ValueError, match=r"from 0 to 1, not 2"):
        SequenceData(path=["x"], alone=2, families="file")


def test_few_families_are_cut_and_many_are_kept_whole(tmp_path):
    def rule(count, **options):
        records = [
            Record(id=f"{f}-{n}", sequence=letters(60, 100 * f + n).encode(), group=str(f))
            for f in range(count)
            for n in range(40 // count + 1)
        ]
        corpus = Corpus.build(records, tmp_path / f"{count}", PROTEIN)
        return split_corpus(SequenceData(path=["x"], **options), corpus).rule.partition(";")[0]

    assert rule(20, families="group") == "group" and rule(2, families="group") == "identity"
    assert rule(2, val_fraction=0.0, test_fraction=0.5) == "group"
