"""Sequence files that could be read wrongly without a word: cut archives, line ends, quotes, empty reads, pipes."""

import gzip
import os
import threading

import pytest

from xlstm_apps.biosequence import get_alphabet, get_tokenizer
from xlstm_apps.datasets.sequences import SequenceData, SequenceSource, load_corpus, read_features, read_records
from xlstm_apps.datasets.sequences.loading import check_file_classes, read_source
from xlstm_apps.datasets.sequences.opening import BGZF_END, blocks, lines
from xlstm_apps.datasets.sequences.vcf_output import write_lines

DNA = get_alphabet("dna")


def parts(path):
    return [(r.id, r.sequence) for r in read_records(path)]


@pytest.mark.parametrize(
    "content",
    [
        b">a\rACGT\rAC\r>b\rGG\r",
        b">a\rACGT\rAC\r>b\rGG\r\n",
        b">a\rACGT\rAC\r>b\nGG\n",
        b">a\r\nACGT\nAC\r>b\nGG",
        b">a\r\r\nACGT\r\r\nAC\r\r\n>b\r\r\nGG\r\r\n",
    ],
)
def test_line_ends_of_any_kind_and_mixture(tmp_path, content):
    path = tmp_path / "g.fa"
    path.write_bytes(content)
    assert parts(path) == [("a", b"ACGTAC"), ("b", b"GG")]
    whole = b"".join(blocks(path))
    assert b"\r" not in whole
    for size in range(1, len(content)):  # a border may fall within a line end
        assert b"".join(blocks(path, size)) == whole
    assert [text for _, text in lines(path)] == whole.decode().removesuffix("\n").split("\n")


def test_bgzip_cut_at_the_border_of_a_block_is_told(tmp_path):
    path = tmp_path / "g.fa.gz"
    write_lines(path, [">a", *["ACGT" * 20] * 3000], packed=True)
    (record,) = read_records(path)
    assert len(record.sequence) == 240_000
    first = path.read_bytes()
    path.write_bytes(first[: int.from_bytes(first[16:18], "little") + 1])  # reads well, and is a quarter of the file
    with pytest.raises(ValueError, match=r"g.fa.gz: the block that ends a file of bgzip is missing, .* fetch it again"):
        parts(path)
    path.write_bytes(first.removesuffix(BGZF_END))
    with pytest.raises(ValueError, match="bgzip is missing"):
        parts(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.fa.gz", gzip.compress(gzip.compress(b">a\nACGT\n")), "packed twice"),
        ("a.tar.gz", gzip.compress(b"a.fa".ljust(257, b"\0") + b"ustar\0"), "tar archive"),
        ("a.xlsx", b"PK\3\4....", "a spreadsheet; save it as CSV"),
        ("a.fa.Z", b"\x1f\x9d\x90", "packed with compress"),
        ("a.parquet", b"id,sequence\na,ACGT\n", "not readable as Parquet"),
        ("a.fa", b">a\n" + b"1 acgtacgtac gtacgtacgt\n" * 4, "'1' at position 1 is not of the dna alphabet"),
    ],
    ids=["twice", "tar", "spreadsheet", "compress", "parquet", "numbers"],  # packed bytes hold the time
)
def test_what_is_no_file_of_sequences_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_corpus(SequenceData(path=[str(tmp_path / name)]), DNA, tmp_path / "corpus")


def test_a_pipe_is_refused_before_anything_is_taken_from_it(tmp_path):
    pipe = tmp_path / "pipe.fa"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b">a\nACGT\n",))
    writer.start()
    with pytest.raises(ValueError, match=r"pipe.fa: a pipe or device, .* write it to a file first"):
        parts(pipe)
    assert pipe.read_bytes() == b">a\nACGT\n"
    writer.join()


def test_reads_of_no_length_are_counted(tmp_path):
    path = tmp_path / "r.fq"
    path.write_text("@r1\n\n+\n\n@r2\nACGT\n+\nIIII\n\n\n@r3\n\n+\n\n")
    assert parts(path) == [("r1", b""), ("r2", b"ACGT"), ("r3", b"")]
    assert load_corpus(SequenceData(path=[str(path)]), DNA, tmp_path / "c").report["left_out"] == {"empty": 2}


def test_labels_in_headers_may_be_quoted(tmp_path):
    path = tmp_path / "g.fa"
    path.write_text(
        ">a label=\"DNA binding\" group=g1\nACGT\n>b label='DNA repair'\nAC\n>c x|label=5'UTR|group=g2\nGG\n>d\nTT\n"
    )
    corpus = load_corpus(SequenceData(path=[str(path)]), DNA, tmp_path / "c", labels=True)
    assert corpus.labels == ["DNA binding", "DNA repair", "5'UTR", None]
    assert corpus.groups == ["g1", None, "g2", None]


def test_files_of_one_name_are_one_class_only_where_folders_are_alike(tmp_path):
    for folder, name in (("a", "x"), ("b", "x"), ("c", "y"), ("a", "y"), ("b", "y")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"{name}.fa").write_text(f">{folder}{name}\nACGT\n")

    def check(*names, **options):
        data = SequenceData(path=[str(tmp_path / f"{name}.fa") for name in names], **options)
        check_file_classes(data, load_corpus(data, DNA, tmp_path / "corpus", labels=True).labels)

    check("a/x", "a/y", "b/x", "b/y")
    check("a/x", "b/y")
    with pytest.raises(ValueError, match=r"a/x.fa and .*b/x.fa have one name and would be one class; rename them"):
        check("a/x", "b/x", "c/y")
    for path in tmp_path.glob("*/*.fa"):
        path.write_text(f">{path.parent.name}{path.stem} label={path.parent.name}\nACGT\n")
    check("a/x", "b/x", "c/y")  # headers say the labels


@pytest.mark.parametrize(
    ("alphabet", "header", "expected"),
    [
        ("dna", "protein,dna", "ACGTACGT"),
        ("protein", "dna,protein", "MKTAYIAK"),
        ("protein", "smiles,sequence,protein", "ACGTACGT"),  # `protein` holds a name there
    ],
)
def test_the_column_is_that_of_the_alphabet(tmp_path, alphabet, header, expected):
    path = tmp_path / "t.csv"
    cells = {"dna": "ACGTACGT", "protein": "MKTAYIAK", "smiles": "CCO", "sequence": "ACGTACGT"}
    path.write_text(f"{header}\n" + ",".join(cells[name] for name in header.split(",")) + "\n")
    codes = get_alphabet(alphabet)
    corpus = load_corpus(SequenceData(path=[str(path)]), codes, tmp_path / "c")
    assert get_tokenizer(alphabet).decode(corpus[0]) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_column": "w"}, "column 'w' holds weights below 0 or without bound"),
        ({"weight_column": "v"}, "column 'v' holds weights below 0 or without bound"),
        ({"label_columns": ["y", "y"]}, "label columns y, y name one twice"),
        ({"label_columns": ["sequence"]}, r"name one twice, or the sequences \(sequence\)"),
    ],
)
def test_columns_that_cannot_be_meant(tmp_path, options, message):
    path = tmp_path / "t.csv"
    path.write_text("sequence,y,w,v\nACGT,1,1,1\nGGCC,0,-0.5,inf\n")
    with pytest.raises(ValueError, match=message):
        load_corpus(SequenceData(path=[str(path)], **options), DNA, tmp_path / "c", labels=True)


def test_a_feature_in_two_records_is_refused(tmp_path):
    pytest.importorskip("Bio", reason="needs Biopython")
    path = tmp_path / "x.gb"
    path.write_text(
        "LOCUS       A1                        10 bp    DNA     circular BCT 01-JAN-2020\n"
        "VERSION     A1.1\nFEATURES             Location/Qualifiers\n     CDS             LOCATION\n"
        '                     /locus_tag="t"\nORIGIN\n        1 acgttgcaac\n//\n'.replace(
            "LOCATION", "join(8..10,1..2)"
        )
    )
    (joined,) = read_features(path)
    assert joined.parts == ((7, 10, "+"), (0, 2, "+"))  # across the origin of a circle
    path.write_text(path.read_text().replace("join(8..10", "join(J00194.1:8..10"))
    with pytest.raises(
        ValueError, match=r"record 'A1.1': a part of the feature 't' lies in another record \(J00194.1\)"
    ):
        read_features(path)


def test_a_text_is_one_record_as_it_stands(tmp_path):
    path = tmp_path / "book.txt"
    story = "One, two;\tthree.\n\n  It's \u00e9t\u00e9.\n"
    path.write_text(story, encoding="utf-8")
    (record,) = read_source(SequenceSource(path=[str(path)]), "text")
    assert (record.id, record.sequence.decode()) == ("book.txt", story)
    path.write_text(">a\nOne, two\n")  # FASTA stays FASTA
    assert [record.id for record in read_source(SequenceSource(path=[str(path)]), "text")] == ["a"]
    path.write_bytes(b"one\ncaf\xe9\n")
    with pytest.raises(ValueError, match=r"book.txt line 2: not UTF-8; save the text as UTF-8"):
        list(read_records(path, "text"))
    path.write_text("one two\n")
    with pytest.raises(ValueError, match=r"line 1: 'one two' stands before .* data.format text"):
        list(read_records(path))


def test_features_of_genbank_are_regions(tmp_path):
    pytest.importorskip("Bio", reason="needs Biopython")
    path = tmp_path / "x.gb"

    def cut(*places, kind="CDS", **options):
        rows = "".join(
            f'     CDS             {p}\n                     /locus_tag="t{n}"\n' for n, p in enumerate(places)
        )
        path.write_text(
            "LOCUS       A1                        10 bp    DNA     circular BCT 01-JAN-2020\nVERSION     A1.1\n"
            f"FEATURES             Location/Qualifiers\n{rows}ORIGIN\n        1 acgttgcaac\n//\n"
        )
        data = SequenceData(path=[str(path)], regions_path=str(path), region_kind=kind, **options)
        corpus = load_corpus(data, DNA, tmp_path / "c")
        texts = [get_tokenizer("dna").decode(corpus[n]) for n in range(len(corpus))]
        return dict(zip(corpus.ids, texts, strict=True)), corpus.report["notes"]

    assert cut("2..4", "complement(2..4)")[0] == {"t0": "CGT", "t1": "ACG"}
    found, notes = cut("complement(join(1..2,4..6))")
    assert found == {"t0": "CAACGT"} and "regions of several blocks" in notes[1]
    with pytest.raises(ValueError, match=r"the parts of t1 lie across the origin of a circle, .* set on_bad"):
        cut("1..2", "join(8..10,1..2)")
    found, notes = cut("1..2", "join(8..10,1..2)", "join(1..2,complement(5..6))", on_bad="skip")
    assert found == {"t0": "AC"} and "regions left out: 2 (not one stretch)" in notes
    with pytest.raises(ValueError, match=r"record 'A1.1': the place of a feature 'CDS' is not readable"):
        cut("?..4")
    with pytest.raises(ValueError, match=r"no feature of kind 'tRNA'; there are CDS"):
        cut("1..2", kind="tRNA")
