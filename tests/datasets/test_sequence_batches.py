"""Windows, regions and batches: every symbol once, on its strand, weighed as it should be, in an order that resumes."""

import numpy as np
import pytest
import torch

from xlstm_apps.biosequence import get_tokenizer
from xlstm_apps.datasets.sequences import (
    Corpus,
    Record,
    SequenceDataset,
    SequencePolicy,
    Spans,
    place_regions,
    read_records,
    read_regions,
    windows,
    without_gaps,
)
from xlstm_apps.training.loader import BatchLoader

DNA = get_tokenizer("dna")
ALPHABET = DNA.alphabet


@pytest.fixture
def build(tmp_path):
    def build_(*sequences, **policy):
        records = [Record(id=f"chr{i}", sequence=s.encode()) for i, s in enumerate(sequences, 1)]
        return Corpus.build(records, tmp_path / "c", ALPHABET, policy=SequencePolicy(**policy))

    return build_


@pytest.mark.parametrize("length", [1, 3, 5, 8])
@pytest.mark.parametrize("stride", [None, 1, 3])
def test_windows_score_every_symbol_once(build, length, stride):
    corpus = build("ACGTACGTNA", "ACG", "T")
    if stride is not None and stride > length:
        with pytest.raises(ValueError, match="leaves symbols out"):
            windows(Spans.whole(corpus), length, stride, score_once=True)
        return
    for strand in (1, -1):
        whole = Spans.whole(corpus)
        cut = windows(
            Spans(whole.record, whole.start, whole.stop, whole.strand * strand), length, stride, score_once=True
        )
        seen = [np.zeros(n, int) for n in corpus.lengths]
        for r, a, b, c in zip(cut.record, cut.start, cut.stop, cut.context, strict=True):
            assert b - a <= length
            seen[r][slice(a + c, b) if strand > 0 else slice(a, b - c)] += 1
        assert all((s == 1).all() for s in seen)


def test_windows_without_tail_and_by_hand(build):
    corpus = build("ACGTACGTAC")
    spans = Spans.whole(corpus)
    assert windows(spans, 4, 3).start.tolist() == [0, 3, 6]
    assert windows(spans, 4).start.tolist() == [0, 4, 6]
    assert windows(spans, 4, keep_tail=False).start.tolist() == [0, 4]
    assert windows(spans, 4, score_once=True).context.tolist() == [0, 0, 2]
    with pytest.raises(ValueError, match="must be 1 or more"):
        windows(spans, 0)


def test_windows_of_unknown_bases_are_left_out(build):
    corpus = build("ACGTNNNNACGNACGT")
    kept, left = without_gaps(corpus, windows(Spans.whole(corpus), 4), 0.25)
    assert kept.start.tolist() == [0, 8, 12] and left == 1
    with pytest.raises(ValueError, match="more than 10%"):
        without_gaps(corpus, Spans.whole(corpus)[:1], 0.1)


def test_padded_batch(build):
    corpus = build("ACGTN", "acG", softmask="weight")
    spans = Spans([0, 1, 0], [0, 0, 1], [5, 3, 4], [1, 1, -1])
    data = SequenceDataset(
        corpus, spans, bos=True, end=DNA.eos_id, softmask_weight=0.25, labels=np.array([1.0, 2.0, 3.0])
    )
    batch = data.__getitems__([0, 1, 2])
    p, b, e = DNA.pad_id, DNA.bos_id, DNA.eos_id
    assert batch["ids"].tolist() == [[b, 7, 8, 9, 10, 11, e], [b, 7, 8, 9, e, p, p], [b, 7, 8, 9, p, p, p]]
    np.testing.assert_allclose(
        batch["weights"], [[0, 1, 1, 1, 1, 0, 1], [0, 0.25, 0.25, 1, 1, 0, 0], [0, 1, 1, 1, 0, 0, 0]]
    )
    assert batch["ids"].dtype == torch.int64 and batch["weights"].dtype == torch.float32
    assert batch["lengths"].tolist() == [7, 5, 4] and batch["record"].tolist() == [0, 1, 0]
    assert batch["start"].tolist() == [0, 0, 1] and batch["strand"].tolist() == [1, 1, -1]
    assert batch["label"].tolist() == [1.0, 2.0, 3.0]
    fixed = SequenceDataset(corpus, spans, pad_length=8).__getitems__([1])
    assert fixed["ids"].shape == (1, 8) and (fixed["ids"][0, 3:] == p).all() and "label" not in fixed


def test_packed_batch_holds_the_same_documents(build):
    corpus = build("ACGTN", "ACG", "TT", "GGGGGG")
    spans = Spans.whole(corpus)
    padded = SequenceDataset(corpus, spans, bos=True, end=DNA.eos_id).__getitems__(range(4))
    packed = SequenceDataset(corpus, spans, layout="pack", pack_length=12, bos=True, end=DNA.eos_id)
    assert len(packed) == 2  # 7 + 5, 4 + 8
    batch = packed.__getitems__([0, 1])
    borders = batch["cu_seqlens"]
    assert borders.dtype == torch.int32 and borders.tolist() == [0, 7, 12, 16, 24] and batch["ids"].shape == (1, 24)
    for i in range(4):
        n = int(padded["lengths"][i])
        for key in ("ids", "weights"):
            assert torch.equal(batch[key][0, borders[i] : borders[i + 1]], padded[key][i, :n])
    assert batch["record"].tolist() == [0, 1, 2, 3]
    assert packed[-1]["ids"].shape == (1, 12)


def test_record_weights_and_context_are_in_the_weights(tmp_path):
    records = [Record(id="a", sequence=b"ACGTACGT", weight=0.5)]
    corpus = Corpus.build(records, tmp_path / "c", ALPHABET)
    cut = windows(Spans.whole(corpus), 5, 3, score_once=True)
    batch = SequenceDataset(corpus, cut).__getitems__([0, 1])
    np.testing.assert_allclose(batch["weights"], [[0.5] * 5, [0, 0, 0.5, 0.5, 0.5]])


def test_mistakes_are_told(build):
    corpus = build("ACGTACGT")
    spans = Spans.whole(corpus)
    for options, message in [
        ({"layout": "rows"}, "'pad' or 'pack'"),
        ({"pack_length": 5}, "pack_length for layout='pack'"),
        ({"pad_length": 5, "bos": True}, r"9 long and rows are 5; cut it with windows\(4\)"),
        ({"labels": np.zeros(3)}, "1 sequences and 3 labels"),
    ]:
        with pytest.raises(ValueError, match=message):
            SequenceDataset(corpus, spans, **options)
    with pytest.raises(ValueError, match="no sequences"):
        SequenceDataset(corpus, spans[:0])
    with pytest.raises(IndexError):
        SequenceDataset(corpus, spans).__getitems__([1])


@pytest.mark.parametrize("workers", [0, 1])
def test_the_walk_resumes_exactly(build, workers):
    rng = np.random.default_rng(0)
    corpus = build("".join(rng.choice(list("ACGT"), 1000)))
    data = SequenceDataset(corpus, windows(Spans.whole(corpus), 64, 32))

    def loader():
        return BatchLoader(data, 4, seed=3, shuffle=True, num_workers=workers)

    straight = [batch["ids"] for batch in loader()]
    first, halves = loader(), []
    for batch in first:
        halves.append(batch["ids"])
        if len(halves) == 3:
            break
    second = loader()
    second.load_state_dict(first.state_dict())
    halves += [batch["ids"] for batch in second]
    assert len(straight) == len(halves) and all(map(torch.equal, straight, halves))
    assert sum(len(ids) for ids in straight) == len(data)


BED = """track name=x
# comment
browser position chr1
chr1\t2\t6\tgene\t0\t-
1\t0\t4
chr1\t6\t99\tbeyond
chr1\t5\t5\tnothing
chr9\t0\t5\tlost
"""


def test_bed_regions_with_strand(build, tmp_path):
    corpus = build("ACGTTTGA")
    path = tmp_path / "r.bed"
    path.write_text(BED)
    regions = read_regions(path)
    placed = place_regions(corpus, regions)
    read = [
        DNA.decode(corpus.fetch(r, a, b, s))
        for r, a, b, s in zip(
            placed.spans.record, placed.spans.start, placed.spans.stop, placed.spans.strand, strict=True
        )
    ]
    assert read == ["AAAC", "ACGT", "GA"] and [r.name for r in placed.regions] == ["gene", "", "beyond"]
    assert placed.clipped == 1 and placed.left_out == {"no length": 1, "unknown contig": 1}
    assert place_regions(corpus, regions, "skip").left_out == {
        "no length": 1,
        "unknown contig": 1,
        "beyond the contig": 1,
    }
    with pytest.raises(ValueError, match=r"r.bed line 6: chr1:7-99, counted from 1, reaches beyond the 8 symbols"):
        place_regions(corpus, regions, "error")
    with pytest.raises(ValueError, match="none of 1 regions"):
        place_regions(corpus, regions[-1:])


def test_blocks_of_bed12_are_told_not_joined(build, tmp_path):
    corpus, path = build("ACGTTTGA"), tmp_path / "r.bed"
    tail = "\t0\t0\t0\t2\t2,3,\t0,4,\n"
    path.write_text(
        f"chr1\t1\t8\tgene\t0\t-{tail}chr1\t0\t2\tone\t0\t+\t0\t0\t0\t1\t2\t0\nchr1\t0\t2\tn\t0\t+" + "\tx" * 6
    )
    placed = place_regions(corpus, read_regions(path))
    assert placed.regions[0].parts == ((5, 8, "-"), (1, 3, "-")) and placed.spans.lengths.tolist() == [7, 2, 2]
    (note,) = placed.notes()
    assert note.startswith("regions of several blocks") and ": 1 (`bedtools getfasta -split`" in note


def test_a_contig_called_track_is_no_header_and_a_strand_is_no_name(tmp_path):
    path = tmp_path / "r.bed"
    path.write_text('track name="x"\nbrowser hide all\n#c\ntrack1\t0\t4\n')
    assert [region.contig for region in read_regions(path)] == ["track1"]
    path.write_text("chr1\t0\t4\tg\nchr1\t0\t4\t-\n")
    with pytest.raises(
        ValueError, match=r"line 2: the fourth column is the name, not the strand \(-\), which is the six"
    ):
        read_regions(path)


def test_gff_counts_from_one(build, tmp_path):
    corpus = build("ACGTTTGA")
    path = tmp_path / "r.gff3"
    path.write_text(
        "##gff-version 3\nchr1\tx\tgene\t3\t6\t.\t-\t.\tID=g1;Name=n\nchr1\tx\texon\t1\t2\t.\t+\t.\n##FASTA\n>a\n"
    )
    regions = read_regions(path, kind="gene")
    assert [(r.start, r.end, r.strand, r.name) for r in regions] == [(2, 6, "-", "g1")] and len(read_regions(path)) == 2
    spans = place_regions(corpus, regions).spans
    assert DNA.decode(corpus.fetch(0, int(spans.start[0]), int(spans.stop[0]), -1)) == "AAAC"
    with pytest.raises(ValueError, match="no region found of kind 'CDS'"):
        read_regions(path, kind="CDS")
    path.write_text('chr1\tx\texon\t1\t4\t.\t+\t.\tnote "a; b"; gene_id "g; 1"; transcript_id "t";\n')
    assert [region.name for region in read_regions(path)] == ["g; 1"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.bed", "chr1\t5\n", "line 1: 2 columns; a line of BED"),
        ("a.bed", "chr1\tx\ty\n", "line 1: 'x' and 'y' are no positions"),
        ("a.gff", "chr1\tx\tgene\t3\t6\n", "line 1: 5 columns; a line of GFF"),
        ("a.bed", "# nothing\n", "no region found"),
        ("a.bed", "chr1\t3\t6\ta\t0\tminus\n", "line 1: the strand 'minus' is none of"),
    ],
)
def test_bad_region_lines_are_told(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_regions(tmp_path / name)


def test_genes_of_a_genome_begin_with_a_start_codon(shared_data, tmp_path):
    pytest.importorskip("Bio", reason="needs Biopython")
    from xlstm_apps.datasets.sequences import read_features

    path = shared_data("dna/NC_000913.gbk.gz")
    corpus = Corpus.build(read_records(path), tmp_path / "c", ALPHABET)
    placed = place_regions(corpus, [f for f in read_features(path, "CDS") if not f.parts], "error")
    data = SequenceDataset(corpus, placed.spans)
    codons = [tuple(data[i]["ids"][0, :3].tolist()) for i in range(0, len(data), 10)]
    starts = {tuple(DNA.encode(c)) for c in ("ATG", "GTG", "TTG")}
    assert sum(c in starts for c in codons) / len(codons) > 0.97
