"""The data section made a corpus and a split: files, patterns, samples, labels, regions, prepared folders."""

import gzip
import hashlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import xlstm_apps.datasets as datasets
from xlstm_apps.biosequence import get_alphabet
from xlstm_apps.datasets.sequences import SequenceData, load_corpus, open_corpus, parse_region, split_corpus

DNA, PROTEIN = get_alphabet("dna"), get_alphabet("protein")


@pytest.fixture
def load(tmp_path):
    """`load({"a.fa": text}, labels=False, **options)` writes the files and loads them all, or those of `path`."""

    def load_(content, labels=False, alphabet=DNA, **options):
        for name, text in content.items():
            file = tmp_path / name
            file.parent.mkdir(exist_ok=True)
            data = text.encode() if isinstance(text, str) else text
            file.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        paths = options.pop("path", list(content))
        paths = [path if path.startswith("sample:") else str(tmp_path / path) for path in paths]
        data = SequenceData(path=paths, **options)
        return load_corpus(data, alphabet, tmp_path / "corpus", labels=labels), data

    return load_


def read(corpus):
    return ["".join(DNA.tokens[i] for i in corpus[n]) for n in range(len(corpus))]


def test_several_files_patterns_and_folders(load):
    files = {"in/b.fa.gz": ">b\r\nACGT\r\n", "in/a.fasta": ">a\nGG\n>a2\nTT\n", "in/notes.txt": "no sequences"}
    for path in (["in/a.fasta", "in/b.fa.gz"], ["in/*.fa*"], ["in"]):
        corpus, _ = load(files, path=path)
        assert corpus.ids == ["a", "a2", "b"] and read(corpus) == ["GG", "TT", "ACGT"]
    for path, words in {
        ("in/*.gbk",): "no file fits this pattern",
        ("in/a.fasta", "in/a.fa*"): "a.fasta twice",
        ("absent.fa",): "no such file",
    }.items():
        with pytest.raises(ValueError, match=words):
            load(files, path=list(path))
    with pytest.raises(ValueError, match="no file in this folder has an ending of sequences"):
        load({"other/x.txt": "x"}, path=["other"])


def test_labels_from_header_file_and_column(load):
    fasta = {"promoter.fa": ">a x label=1|group=g\nAC\n", "other.fa.gz": ">b\nGT\n"}
    corpus, _ = load(fasta, labels=True)
    assert corpus.labels == ["1", "other"] and corpus.groups == ["g", None]
    assert load(fasta, labels=True, label_from="file")[0].labels == ["promoter", "other"]
    assert load(fasta)[0].labels == [None, None]
    with pytest.raises(ValueError, match="no header says label="):
        load({"c.fa": ">c\nAC\n"}, labels=True, label_from="header")
    with pytest.raises(ValueError, match="label_from: column is for tables"):
        load(fasta, labels=True, label_from="column")
    with pytest.raises(ValueError, match=r"data.label_columns is for tables, and .*promoter.fa is fasta"):
        load(fasta, labels=True, label_columns=["y"])
    table = {
        "t.csv": "sequence,y,z,part\nAC,0,1.5,train\nGG,1,2.5,test\nTT,1,0.5,val\n",
        "u.tsv": "seq\ty\tz\nAA\t0\t0.5\n",
    }
    corpus, data = load(table, labels=True, path=["t.csv"])
    assert corpus.labels == [0, 1, 1] and corpus.parts == ["train", "test", "val"]
    split = split_corpus(data, corpus)
    assert split.rule == "column" and [s.record.tolist() for s in (split.train, split.val, split.test)] == [
        [0],
        [2],
        [1],
    ]
    both, _ = load(table, labels=True, label_columns=["y", "z"])
    assert both.labels[-1] == [0, 0.5] and both.ids[-1] == "u:row_1"


def test_regions_on_their_strand_with_their_masking(load, tmp_path):
    (tmp_path / "r.bed").write_text("chr1\t2\t6\tgene\t0\t-\n1\t0\t3\n1\t0\t3\n")
    genome = {"g.fa": ">1\nACgtNNACGT\n"}
    corpus, _ = load(genome, regions_path=str(tmp_path / "r.bed"))
    assert corpus.ids == ["gene", "1:1-3(+)", "1:1-3(+)_2"] and read(corpus) == ["NNAC", "ACG", "ACG"]
    assert corpus.soft_mask(0, 0, 4).tolist() == [False, False, True, True]
    assert corpus.starts.tolist() == [2, 0, 0] and corpus.strands.tolist() == [-1, 1, 1]
    assert corpus.report["notes"] == [f"3 of 3 regions of {tmp_path}/r.bed, cut from 1 records, 10 symbols"]
    (tmp_path / "r.bed").write_text("1\t8\t20\n2\t0\t3\n")
    with pytest.raises(ValueError, match=r"r.bed line 1: 1:9-20, .* reaches beyond .*; set on_bad to 'skip' or 'fix'"):
        load(genome, regions_path=str(tmp_path / "r.bed"))
    corpus, _ = load(genome, regions_path=str(tmp_path / "r.bed"), on_bad="fix")
    assert read(corpus) == ["GT"] and any("regions left out: 1 (unknown contig)" in n for n in corpus.report["notes"])
    assert not list(tmp_path.glob(".whole-*"))


def test_prepared_folder_is_used_where_it_lies(load, tmp_path):
    corpus, _ = load({"g.fa": ">1\nACGTNACGT\n"}, min_length=2)
    again = load_corpus(SequenceData(path=[str(corpus.path)]), DNA, tmp_path / "not-made")
    assert again.path == corpus.path and not (tmp_path / "not-made").exists()
    for options, words in {
        (("min_length", 3),): "data.min_length is 3, and .* was prepared with 2",
        (("label_columns", ("y",)),): "data.label_columns is for files",
    }.items():
        with pytest.raises(ValueError, match=words):
            load_corpus(SequenceData(path=[str(corpus.path)], **dict(options)), DNA, tmp_path / "not-made")
    with pytest.raises(ValueError, match="a prepared folder, which is read alone"):
        load_corpus(SequenceData(path=[str(corpus.path), "g.fa"]), DNA, tmp_path / "x")
    with pytest.raises(ValueError, match="other ids than 'protein'"):
        load_corpus(SequenceData(path=[str(corpus.path)]), get_alphabet("protein"), tmp_path / "x")
    with open_corpus(SequenceData(path=[str(tmp_path / "g.fa")]), DNA) as opened:
        place = opened.path
        assert read(opened) == ["ACGTNACGT"]
    assert not place.exists()


def test_auto_split(load):
    many = "".join(f">r{i}\nACGTACGTAC\n" for i in range(40))
    corpus, data = load({"many.fa": many})
    split = split_corpus(data, corpus)
    assert split.rule == "random" and [len(s) for s in (split.train, split.val, split.test)] == [32, 4, 4]
    corpus, data = load({"one.fa": ">c\n" + "ACGT" * 25 + "\n>d\n" + "ACGT" * 5})
    split = split_corpus(data, corpus)
    assert split.rule == "stretch" and split.test.start.tolist() == [90, 18]
    with pytest.raises(ValueError, match="2 records are too few for"):
        split_corpus(data, corpus, whole=True)
    grouped = "".join(f">r{i} group=g{i // 4}\nACGTACGTAC\n" for i in range(40))
    corpus, data = load({"g.fa": grouped})
    assert split_corpus(data, corpus).rule == "group"


def test_named_splits_and_their_mistakes(load):
    text = {"g.fa": ">a\n" + "ACGT" * 25 + "\n>b\n" + "ACGT" * 25 + "\n"}
    corpus, data = load(text, test_contigs=["b"])
    split = split_corpus(data, corpus)
    assert split.rule.startswith("contig; validation: ends") and split.test.record.tolist() == [1]
    assert (split.val.record.tolist(), split.val.start.tolist(), split.train.stop.tolist()) == ([0], [90], [90])
    corpus, data = load(text, test_regions=["a:11-20", "b"], val_regions=["a:1-10"])
    split = split_corpus(data, corpus)
    assert (split.train.start.tolist(), split.test.start.tolist()) == ([20], [10, 0])
    for options, words in (
        ({"test_contigs": ["b"], "test_regions": ["a"]}, "options of the splits contig and region"),
        ({"test_contigs": ["b"], "split": "random"}, "data.split is random, but options of contig are given"),
        ({"split": "cluster"}, "data.split: cluster needs data.clusters_path"),
        ({"split": "column"}, "name it with data.part_column"),
        ({"test_contigs": ["z"]}, "no record 'z'"),
        ({"test_regions": ["a:5"]}, "'a:5' is no region"),
    ):
        corpus, data = load(text, **options)
        with pytest.raises(ValueError, match=words):
            split_corpus(data, corpus)
    corpus, data = load(text, split="stretch")
    with pytest.raises(ValueError, match="stretch cuts records"):
        split_corpus(data, corpus, whole=True)
    assert parse_region(corpus, "a:1,001-2,000") == ("a", 1000, 2000)


def test_samples(tmp_path):
    folder = Path(datasets.__path__[0]) / "samples"
    told = (folder / "DATA.md").read_text(encoding="utf-8")
    for name in ("ecoli_k12.fasta.gz", "ecoli_or_bacillus.csv.gz", "ww_domains.fasta.gz"):
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() in told
    corpus = load_corpus(SequenceData(path=["sample:ecoli-k12"]), DNA, tmp_path / "a")
    assert corpus.lengths.tolist() == [500_000] and corpus.report["definite"] == 500_000
    data = SequenceData(path=["sample:ecoli-or-bacillus"])
    corpus = load_corpus(data, DNA, tmp_path / "b", labels=True)
    split = split_corpus(data, corpus, whole=True)
    assert [len(s) for s in (split.train, split.val, split.test)] == [2000, 500, 500] and split.rule == "column"
    assert np.unique(corpus.labels).tolist() == ["bacillus", "ecoli"]
    assert pl.Series(corpus.labels)[split.test.record].value_counts()["count"].to_list() == [250, 250]
    corpus = load_corpus(SequenceData(path=["sample:ww-domains"], families="file"), PROTEIN, tmp_path / "d")
    assert (len(corpus), corpus.lengths.sum()) == (3390, 98_921) and set(corpus.groups) == {"ww-domains"}
    assert (corpus.lengths.min(), corpus.lengths.max()) == (18, 34) and corpus.report["definite"] == 98_920
    with pytest.raises(ValueError, match="a table of weather"):
        load_corpus(SequenceData(path=["sample:nyc-weather"]), DNA, tmp_path / "c")
