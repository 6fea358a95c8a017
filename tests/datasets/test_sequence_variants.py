"""VCF rows to alleles: every row has a status, and two ways to write one change are one change."""

import base64
import gzip

import pytest

from xlstm_apps.biosequence import get_alphabet
from xlstm_apps.datasets.sequences import Corpus, Record, check_variant, read_variants

DNA = get_alphabet("dna")
#          0123456789012345
GENOME = "GGACACACATTTCGAN"


@pytest.fixture
def corpus(tmp_path):
    return Corpus.build([Record(id="chr1", sequence=GENOME.encode())], tmp_path / "c", DNA)


@pytest.fixture
def read(tmp_path, corpus):
    def read_(*rows, packed=False):
        path = tmp_path / ("v.vcf.gz" if packed else "v.vcf")
        text = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\n" + "".join("\t".join(row) + "\n" for row in rows)
        path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
        return [check_variant(corpus, DNA, v) for v in read_variants(path)]

    return read_


ROWS = [
    # contig, position from 1, REF, ALT -> status, kind, start from 0, REF, ALT
    (("chr1", "1", "G", "T"), ("ok", "snv", 0, "G", "T")),
    (("1", "3", "a", "c"), ("ok", "snv", 2, "A", "C")),
    (("chr1", "3", "AC", "GT"), ("ok", "mnv", 2, "AC", "GT")),
    (("chr1", "2", "GAC", "GTC"), ("ok", "snv", 2, "A", "T")),  # trimmed
    (("chr1", "6", "CAC", "C"), ("ok", "deletion", 1, "GAC", "G")),  # one CA of the repeat, moved left
    (("chr1", "2", "GAC", "G"), ("ok", "deletion", 1, "GAC", "G")),
    (("chr1", "9", "A", "ACA"), ("ok", "insertion", 1, "G", "GAC")),
    (("chr1", "12", "TC", "T"), ("ok", "deletion", 11, "TC", "T")),
    (("chr1", "1", "GG", "G"), ("ok", "deletion", 0, "GG", "G")),  # at the edge: anchored on the right
    (("chr1", "3", "ACA", "GT"), ("ok", "delins", 2, "ACA", "GT")),
    (("chr1", "3", "A", "N"), ("ambiguous", "ambiguous", 2, "A", "N")),
    (("chr1", "3", "A", "AN"), ("ambiguous", "ambiguous", 2, "A", "AN")),
    (("chr1", "16", "N", "NA"), ("ok", "insertion", 15, "N", "NA")),  # the anchor says nothing about the change
    (("chr1", "16", "N", "A"), ("ambiguous", "ambiguous", 15, "N", "A")),
    (("chr1", "1", "T", "A"), ("ref_mismatch", "snv", 0, "T", "A")),
    (("chr9", "1", "T", "A"), ("unknown_contig", "unknown_contig", 0, "T", "A")),
    (("chr1", "16", "NA", "N"), ("beyond_contig", "beyond_contig", 15, "NA", "N")),
    (("chr1", "99", "A", "T"), ("beyond_contig", "beyond_contig", 98, "A", "T")),
    (("chr1", "0", "N", "A"), ("beyond_contig", "beyond_contig", -1, "N", "A")),  # the telomere
    (("chr1", "1", "G", "<DEL>"), ("symbolic", "symbolic", 0, "G", "<DEL>")),
    (("chr1", "1", "G", "G]chr2:5]"), ("symbolic", "symbolic", 0, "G", "G]chr2:5]")),
    (("chr1", "1", "G", "*"), ("overlapping", "overlapping", 0, "G", "*")),
    (("chr1", "1", "G", "."), ("no_change", "no_change", 0, "G", ".")),
    (("chr1", "1", "G", "X"), ("bad", "bad", 0, "G", "X")),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(row[0]) if isinstance(row[0], tuple) else None)
def test_every_kind_of_row(read, row):
    (contig, position, ref, alt), expected = row
    (found,) = read((contig, position, "rs1", ref, alt))
    assert (found.status, found.kind, found.start, found.ref, found.alt) == expected
    assert found.id == "rs1" and found.line == 3


def test_lines_of_several_alleles_give_several(read):
    found = read(("chr1", "3", ".", "A", "C,<DEL>,ACA", "50", "PASS", "DP=1"), packed=True)
    assert [(v.allele, v.status, v.kind) for v in found] == [
        (1, "ok", "snv"),
        (2, "symbolic", "symbolic"),
        (3, "ok", "insertion"),
    ]
    assert {v.id for v in found} == {""}


def test_normalising_changes_the_writing_not_the_change(read):
    def applied(v):
        return GENOME[: v.start] + v.alt + GENOME[v.start + len(v.ref) :]

    for (contig, position, ref, alt), (status, *_) in ROWS:
        if status == "ok":
            (found,) = read((contig, position, ".", ref, alt))
            start = int(position) - 1
            assert applied(found) == GENOME[:start] + alt.upper() + GENOME[start + len(ref) :]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chr1\t5\t.\tA\n", "line 1: 4 columns; a VCF line begins with CHROM"),
        ("#CHROM\nchr1\t-1\t.\tA\tC\n", "line 2: position '-1' is no whole number"),
        ("chr1\tx\t.\tA\tC\n", "line 1: position 'x'"),
        ("##fileformat=VCFv4.2\n", "no variant and no line '#CHROM"),
    ],
)
def test_bad_files_are_told(tmp_path, text, message):
    path = tmp_path / "v.vcf"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        list(read_variants(path))


# Written by htslib 1.23: two contigs, one line of three alternatives, a long allele, one without alternative.
BCF = base64.b64decode(
    "H4sIBAAAAAAA/wYAQkMCAPQAdc5BT4MwGMZx3O3dp1jgSkyLHu2SSldtwgZCNV4ndqwJFGyr0W8vYwcznffnl+d/m/LZrLsIgija6VbtetttPXlK"
    "+cf1ZTKPIi4yuSrJjWCkoFUVM+Vqqweve0NC2raLUXll3WLYOqdew1iwZ4KWo6x743UzyXpvk7hVpvF7ghFC/43wnxFenja8YXSa8Bn+7MSG59OK"
    "FfHmvXtRluBYfg2KCONVo+xZmkwXebmmcsJ38heuvNWmOWuvRpvel/kairwCwaBccaCZhIdHmsGxGw5ZcDwAh8El8+AbnzSl4nYBAAAfiwgEAAAA"
    "AAD/BgBCQwIAmQBTY2BgYAdiRiBmgtIMDB5OjEAekM9oXlRsLu4o7izIIMgkyCnIrMjEwsKiC9UEApxAzAzW2FDPyMAC1sRu7u7oLO4ebuPi6mMn"
    "riXIKMgiyAPWy8DgjWShNiOEhuiFWphonSTu+F1Q1dGZCAByFTPUZAUkk3VQTGaEuErcD1k5AEMca/z6AAAAH4sIBAAAAAAA/wYAQkMCABsAAwAA"
    "AAAAAAAAAA=="
)


@pytest.mark.parametrize("packed", [True, False])
def test_bcf_is_read(tmp_path, packed):
    path = tmp_path / "v.bcf"
    path.write_bytes(BCF if packed else gzip.decompress(BCF))
    found = [(v.contig, v.start, v.id, v.ref, v.alt, v.allele, v.line, v.status) for v in read_variants(path)]
    assert found == [
        ("chr1", 2, "rs7", "A", "C", 1, 1, "ok"),
        ("chr2", 9, "", "GAC", "G", 1, 2, "ok"),
        ("chr2", 9, "", "GAC", "<DEL>", 2, 2, "symbolic"),
        ("chr2", 9, "", "GAC", "*", 3, 2, "overlapping"),
        ("chr1", 299, "a;b", "A", "A" + "C" * 36, 1, 3, "ok"),
        ("chr1", 300, "", "N", ".", 1, 4, "no_change"),
    ]


@pytest.mark.parametrize("size", [200, 500, -3])
def test_a_bcf_file_cut_short_is_told(tmp_path, size):
    path = tmp_path / "v.bcf"
    path.write_bytes(gzip.decompress(BCF)[:size])
    with pytest.raises(ValueError, match=r"v\.bcf record \d+: the BCF file is truncated or damaged"):
        list(read_variants(path))


def test_a_file_of_no_variants_is_no_mistake(tmp_path):
    path = tmp_path / "v.vcf"
    path.write_text("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\n")
    assert list(read_variants(path)) == []
