"""Files that would be read as something else without a word: other notations, joined chains, columns of no text."""

import polars as pl
import pytest

from xlstm_apps.biosequence import get_alphabet
from xlstm_apps.datasets.sequences import SequenceSource, load_corpus, read_regions
from xlstm_apps.datasets.sequences.alignment import read_a3m
from xlstm_apps.datasets.sequences.config import LabelledSource
from xlstm_apps.datasets.sequences.family_file import read_family
from xlstm_apps.datasets.sequences.loading import read_source, source_files
from xlstm_apps.recipes._sequence_protein import residues

THREE = ">a\nMET ALA GLY SER\n>b\nMetAlaGlyVal\n>c\nMKVLAAGG\n>d\nMETALA\n"
UNAVAILABLE = ">a\nMKVLAAGG\n>b\nSequence unavailable\n"


def written(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content)
    return str(path)


def protein(tmp_path, path, **options):
    return load_corpus(SequenceSource(path=[path], **options), get_alphabet("protein"), tmp_path / "c")


def test_pir_is_no_fasta(tmp_path):
    path = written(tmp_path, "x.fa", ">P1;CRAB_ANAPL\nALPHA CRYSTALLIN B CHAIN\nMDITIHNPLI RRPLFSWLAP*\n")
    with pytest.raises(ValueError, match=r"x.fa line 1: 'P1;CRAB_ANAPL' looks like PIR, .* convert it to FASTA"):
        protein(tmp_path, path)
    path = written(tmp_path, "x.fa", ">N1;size=3\nMDITIHNPLI\n")
    assert protein(tmp_path, path).ids == ["N1;size=3"]


def test_proteins_of_three_letters_a_residue(tmp_path):
    path = written(tmp_path, "x.fa", THREE)
    with pytest.raises(ValueError, match="record 'a': written with three letters for each residue; bring one letter"):
        protein(tmp_path, path)
    with pytest.raises(ValueError, match="record 'a': written with three letters"):
        read_family(path)
    with pytest.raises(ValueError, match="--wild_type: written with three letters"):
        residues("MetAlaGlySer", "--wild_type")
    corpus = protein(tmp_path, path, on_bad="skip")
    assert corpus.ids == ["c", "d"] and corpus.report["left_out"] == {"three letters for each residue": 2}


def test_what_is_not_available_is_no_sequence(tmp_path):
    corpus = protein(tmp_path, written(tmp_path, "x.fa", UNAVAILABLE))
    assert corpus.ids == ["a"] and corpus.report["left_out"] == {"empty": 1}


def test_joined_chains_are_no_family(tmp_path):
    assert len(read_a3m(written(tmp_path, "x.a3m", "#3\t2\n>101\nMKV\n>b\nM-V\n"))) == 2
    with pytest.raises(ValueError, match=r"x.a3m line 1: rows of several chains joined; bring an alignment for each"):
        read_a3m(written(tmp_path, "x.a3m", "#3,2\t1,1\n>101\t102\nMKVLA\n"))


def test_columns_hold_text_and_have_names_of_their_own(tmp_path):
    source = SequenceSource(path=[str(tmp_path / "x.parquet")])
    pl.DataFrame({"sequence": [b"ACGT"]}).write_parquet(tmp_path / "x.parquet")
    assert [record.sequence for record in read_source(source)] == [b"ACGT"]
    pl.DataFrame({"sequence": [["A", "C"]]}).write_parquet(tmp_path / "x.parquet")
    with pytest.raises(ValueError, match=r"column 'sequence' holds List\(String\), and sequences are text"):
        list(read_source(source))
    path = written(tmp_path, "x.csv", "sequence,label,label\nACGT,1,2\n")
    with pytest.raises(ValueError, match=r"x.csv: two columns 'label'; rename one of them"):
        list(read_source(LabelledSource(path=[path]), labels=True))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.vcf", "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\nc\t5\t7\tA\tC\n", "this is a VCF file, variants"),
        ("x.txt", "c\t2\t5\t-\tname\n", "line 1: the fourth column is the name, not the strand"),
    ],
)
def test_what_is_no_bed(tmp_path, name, content, message):
    with pytest.raises(ValueError, match=message):
        read_regions(written(tmp_path, name, content))


def test_hidden_files_of_a_folder_are_not_read(tmp_path):
    kept = written(tmp_path, "a.fa", ">a\nACGT\n")
    written(tmp_path, "._a.fa", "of another system")
    assert source_files(SequenceSource(path=[str(tmp_path)])) == [kept]
