"""Files of sequences: formats, compression, odd line ends, and what is refused with the line and the mend."""

import bz2
import gzip
import lzma
import time
import zipfile

import polars as pl
import pytest

from xlstm_apps.datasets.sequences import TableColumns, read_features, read_records
from xlstm_apps.datasets.sequences.opening import blocks

FASTA = ">chr1 first\nACGT\nacgt\n>chr2\nNNNN\n"


def bgzip(data: bytes) -> bytes:
    """Several gzip members after one another, as bgzip writes."""
    return b"".join(gzip.compress(data[i : i + 7]) for i in range(0, len(data), 7)) + gzip.compress(b"")


WAYS = {
    "plain": FASTA.encode(),
    "no newline at the end": FASTA.strip().encode(),
    "crlf": FASTA.replace("\n", "\r\n").encode(),
    "old mac": FASTA.replace("\n", "\r").encode(),
    "byte order mark": b"\xef\xbb\xbf" + FASTA.encode(),
    "blank lines and spaces": FASTA.replace("\n", "  \n\n").encode(),
    "comments": b"; made by hand\n;\n" + FASTA.replace("acgt", "; note > here\nacgt").encode(),
    "numbers of columns apart": FASTA.replace("ACGT", "AC GT").encode(),
    "gzip": gzip.compress(FASTA.encode()),
    "bgzip": bgzip(FASTA.encode()),
    "bzip2": bz2.compress(FASTA.encode()),
    "xz": lzma.compress(FASTA.encode()),
}


@pytest.mark.parametrize("way", WAYS)
def test_fasta_however_it_is_written(tmp_path, way):
    path = tmp_path / "genome.fa"
    path.write_bytes(WAYS[way])
    records = list(read_records(path))
    assert [(r.id, r.sequence) for r in records] == [("chr1", b"ACGTacgt"), ("chr2", b"NNNN")]
    assert all(r.source == str(path) for r in records)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 8, 64])
def test_borders_of_blocks_do_not_matter(tmp_path, monkeypatch, size):
    from xlstm_apps.datasets.sequences import fasta

    path = tmp_path / "genome.fa"
    path.write_bytes(b";c\n\n>a x>y\nAC\n;no\nGT\n\n>b\n>c\nA")
    monkeypatch.setattr(fasta, "blocks", lambda p: blocks(p, size))
    found = [(r.id, r.sequence, r.line) for r in read_records(path, "fasta")]
    assert found == [("a", b"ACGT", 3), ("b", b"", 8), ("c", b"A", 9)]


def test_fastq(tmp_path):
    path = tmp_path / "reads.fastq.gz"
    path.write_bytes(gzip.compress(b"@r1 x\nACGT\n+\n@>II\n@r2\nNN\n+r2\nII\n"))
    assert [(r.id, r.sequence) for r in read_records(path)] == [("r1", b"ACGT"), ("r2", b"NN")]


def test_table_with_labels(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("name,seq,y,z,part,w\na,ACGT,1,2.5,p,0.5\nb,,0,1,q,1\n")
    columns = TableColumns(labels=["y"], group="part", weight="w")
    records = list(read_records(path, columns=columns))
    assert [(r.id, r.sequence, r.label, r.group, r.weight) for r in records] == [
        ("a", b"ACGT", 1, "p", 0.5),
        ("b", b"", 0, "q", 1.0),
    ]
    assert next(read_records(path, columns=TableColumns(labels=["y", "z"]))).label == [1, 2.5]
    pl.read_csv(path).write_parquet(tmp_path / "t.parquet")
    assert next(iter(read_records(tmp_path / "t.parquet", columns=TableColumns(labels=["y"])))).label == 1
    (tmp_path / "gaps.csv").write_text("seq\tpart\tw\nAC\t\t1\nGT\tp\t\n")
    assert [r.group for r in read_records(tmp_path / "gaps.csv", columns=TableColumns(group="part"))] == [None, "p"]
    with pytest.raises(ValueError, match="'w' has empty cells"):
        list(read_records(tmp_path / "gaps.csv", columns=TableColumns(weight="w")))
    for columns, message in [
        (TableColumns(sequence="dna"), "no column 'dna'; there are name, seq"),
        (TableColumns(weight="part"), "weights are numbers"),
    ]:
        with pytest.raises(ValueError, match=message):
            list(read_records(path, columns=columns))


REFUSED = {
    "empty": (b"", "the file is empty"),
    "empty archive": (gzip.compress(b""), "archived file is empty"),
    "white space": (b"\n \n", "nothing but white space"),
    "text before the first header": (
        b"hello there\n>a\nACGT\n",
        "line 1: 'hello there' stands before the first header",
    ),
    "utf-16": (">a\nACGT\n".encode("utf-16"), "UTF-16"),
    "binary": (b"\x7fELF\0\0\0", "binary file"),
    "truncated gzip": (gzip.compress(FASTA.encode() * 50)[:60], "truncated or damaged"),
    "web page": (b"<!DOCTYPE html><html>", "web page"),
    "vcf": (b"##fileformat=VCFv4.2\n", "VCF file: variants"),
    "sam": (b"@HD\tVN:1.6\n", "SAM file"),
    "zstd": (b"\x28\xb5\x2f\xfd\x00", "zstd -d"),
    "fastq cut short": (b"@a\nACGT\n+\n", "line 1: a FASTQ record is four lines"),
    "fastq of unequal length": (b"@a\nACGT\n+\nIIII\n@b\nAC\n+\nIII\n", "line 5: 2 symbols and 3 qualities"),
    "fastq header": (b"@a\nACGT\n+\nIIII\nb\n", "line 5: a FASTQ record begins with '@name'"),
    "more cells than columns": (b"id,seq\na,ACGT\nb,ACGT,x\n", "line 3: 3 cells, and the header names 2 columns"),
    "latin-1": (b"id,seq\n\xe9,ACGT\n", "line 2: not UTF-8 text"),
    "genbank cut short": (
        b"LOCUS       AB000001                  20 bp    DNA     linear   BCT 01-JAN-2000\n"
        b"DEFINITION  x.\nACCESSION   AB000001\nVERSION     AB000001.1\nORIGIN\n        1 acgtacgtac gtac",
        "the file breaks off",
    ),
    "genbank with a part cut out": (
        b"LOCUS       AB000001                  20 bp    DNA     linear   BCT 01-JAN-2000\n"
        b"DEFINITION  x.\nACCESSION   AB000001\nVERSION     AB000001.1\nORIGIN\n        1 acgtacgtac gtac\n//\n",
        "Expected sequence length 20, found 14",
    ),
    "genbank without sequence": (
        b"LOCUS       AB000001                 100 bp    DNA     linear   BCT 01-JAN-2000\n"
        b"DEFINITION  x.\nACCESSION   AB000001\nVERSION     AB000001.1\nCONTIG      join(AB1.1:1..100)\n//\n",
        "record 'AB000001.1' has no sequence",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_name_the_file_and_the_mend(tmp_path, case):
    if case.startswith("genbank"):
        pytest.importorskip("Bio", reason="needs Biopython")
    content, message = REFUSED[case]
    path = tmp_path / "input.dat"
    path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        list(read_records(path))
    assert message in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_refusals_of_paths_and_names(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        list(read_records(tmp_path / "none.fa"))
    with pytest.raises(ValueError, match="is a folder"):
        list(read_records(tmp_path))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.fa", FASTA)
    with pytest.raises(ValueError, match="zip archive; unpack"):
        list(read_records(tmp_path / "a.zip"))
    (tmp_path / "late.fa").write_text(";x\nhello\n>a\nAC\n")
    with pytest.raises(ValueError, match="line 2: 'hello' stands before"):
        list(read_records(tmp_path / "late.fa", "fasta"))
    with pytest.raises(ValueError, match="no format 'bam'"):
        read_records(tmp_path / "late.fa", "bam")


EMBL = """ID   X56734; SV 1; linear; DNA; STD; PLN; 12 BP.
AC   X56734;
SQ   Sequence 12 BP; 3 A; 3 C; 3 G; 3 T; 0 other;
     acgtacgtac gt                                                            12
//
"""


def test_embl(tmp_path):
    pytest.importorskip("Bio", reason="needs Biopython")
    path = tmp_path / "a.embl"
    path.write_text(EMBL)
    assert [(r.id, r.sequence) for r in read_records(path)] == [("X56734.1", b"ACGTACGTACGT")]


def test_a_genbank_genome_in_seconds(shared_data):
    pytest.importorskip("Bio", reason="needs Biopython")
    begin = time.process_time()
    (record,) = read_records(shared_data("dna/NC_000913.gbk.gz"))
    assert time.process_time() - begin < 10
    assert record.id == "NC_000913.3" and len(record.sequence) == 4_641_652 and record.sequence[:10] == b"AGCTTTTCAT"


def test_genbank_features_keep_strand_and_parts(shared_data):
    pytest.importorskip("Bio", reason="needs Biopython")
    plasmid = shared_data("dna/NC_005816.gb")
    features = read_features(plasmid, "CDS")
    assert len(features) == 10 and {f.contig for f in features} == {"NC_005816.1"}
    first = features[0]
    assert (first.start, first.end, first.strand, first.name) == (86, 1109, "+", "YP_pPCP01")
    with pytest.raises(ValueError, match="no feature of kind 'exon'; there are CDS"):
        read_features(plasmid, "exon")
    joined = [f for f in read_features(shared_data("dna/NC_000913.gbk.gz"), "CDS") if f.parts]
    assert joined and all(f.start == min(p[0] for p in f.parts) for f in joined)


@pytest.mark.parametrize(
    ("cells", "labels"),
    [
        (["1", "2.5", ""], [1.0, 2.5, None]),
        (["3", "-4", "5"], [3, -4, 5]),
        (["007", "010", "011"], ["007", "010", "011"]),
        (["0110", "1", "2"], ["0110", "1", "2"]),
        (["0" * 50, "1" * 50, "01"], ["0" * 50, "1" * 50, "01"]),
        (["a", "1", "2"], ["a", "1", "2"]),
        (["0.5", "0", "1e-3"], [0.5, 0.0, 0.001]),
        (["0.5", "NA", "nan"], [0.5, None, None]),
        (["NA", "EU", "nan"], ["NA", "EU", "nan"]),
    ],
)
def test_labels_are_numbers_where_all_of_them_are(tmp_path, cells, labels):
    path = tmp_path / "t.csv"
    path.write_text("id,sequence,label\n" + "".join(f"0{i},ACGT,{cell}\n" for i, cell in enumerate(cells)))
    records = list(read_records(path, columns=TableColumns(labels=["label"])))
    assert [r.label for r in records] == labels
    assert [r.id for r in records] == ["00", "01", "02"]
