"""Cleaning by policy and the corpus: every symbol where it was, everything counted, whole or not at all."""

import json
import multiprocessing
import pickle

import numpy as np
import pytest

from xlstm_apps.biosequence import get_alphabet, get_tokenizer
from xlstm_apps.datasets.sequences import (
    Corpus,
    Record,
    SequencePolicy,
    TableColumns,
    read_records,
    split_by_parts,
)

DNA = get_tokenizer("dna")


def record(name, sequence, **more):
    return Record(id=name, sequence=sequence.encode(), source="x.fa", line=1, **more)


@pytest.fixture
def build(tmp_path):
    """`build({"a": "ACGT"}, policy options)` -> Corpus; a list of pairs or records works too."""

    def build_(sequences, alphabet="dna", **policy):
        pairs = sequences.items() if isinstance(sequences, dict) else sequences
        records = [pair if isinstance(pair, Record) else record(*pair) for pair in pairs]
        return Corpus.build(records, tmp_path / "corpus", get_alphabet(alphabet), policy=SequencePolicy(**policy))

    return build_


def text(corpus):
    return {name: DNA.decode(corpus[i]) for i, name in enumerate(corpus.ids)}


def test_a_corpus_holds_what_it_was_given(build):
    corpus = build(
        [
            record("a", "ACGTNacg", label=1.5, group="g", start=7, strand="-", weight=0.5),
            record("b", "T" * 17, label=2.0),
            record("c", "acgtacgtN"),
        ]
    )
    assert text(corpus) == {"a": "ACGTNACG", "b": "T" * 17, "c": "ACGTACGTN"}
    assert corpus.labels == [1.5, 2.0, None] and corpus.groups == ["g", None, None]
    assert (corpus.starts[0], corpus.strands[0], corpus.weights[0]) == (7, -1, 0.5)
    np.testing.assert_array_equal(corpus.soft_mask(0, 0, 8), [0, 0, 0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(corpus.soft_mask(2, 6, 9), [1, 1, 0])
    np.testing.assert_array_equal(corpus.soft_mask(0, 3, 7, -1), [1, 1, 0, 0])
    assert not corpus.soft_mask(1, 0, 17).any()
    assert DNA.decode(corpus.fetch(0, 1, 5, -1)) == "NACG"
    assert corpus[0].dtype == np.uint8 and not corpus[0].flags.writeable
    with pytest.raises(IndexError):
        corpus[3]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({}, {"a": "ACNTTN"}),
        ({"ambiguous": "wildcard", "softmask": "wildcard"}, {"a": "ANNTTN"}),
        ({"ambiguous": "skip"}, None),
        ({"ambiguous": "error"}, "ambiguity code 'R' at position 3"),
    ],
)
def test_policies_of_ambiguity_and_case(build, policy, expected):
    sequences = {"a": "AcRUT-", "b": "ACGT"}
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=expected):
            build(sequences, **policy)
        return
    corpus = build(sequences, **policy)
    assert text(corpus) == {**(expected or {}), "b": "ACGT"}
    report = corpus.report
    if expected:
        assert report["ambiguous"] == {"R": 1, "-": 1} and report["synonyms"] == 1 and report["soft_masked"] == 1
        assert report["ambiguous_records"] == 1 and corpus.has_mask == (policy == {})
    else:
        assert report["left_out"] == {"ambiguous": 1} and report["exit_code"] == 1


def test_sampling_draws_from_what_the_code_stands_for(build):
    sequences = {"a": "R" * 300 + "N", "b": "y" * 300 + "ACGT" * 5}
    corpus = build(sequences, ambiguous="sample")
    found = text(corpus)
    assert set(found["a"][:300]) == {"A", "G"} and found["a"][300] == "N" and set(found["b"][:300]) == {"C", "T"}
    assert text(build(sequences, ambiguous="sample")) == found
    assert text(build(sequences, ambiguous="sample", seed=1)) != found


@pytest.mark.parametrize(
    ("sequence", "named"),
    [("ACGTE", "'E' at position 5"), ("AC\u0421T", "'\u0421' at position 3"), ("AC*T", r"'\*' at position 3")],
)
def test_bad_characters_by_policy(build, sequence, named):
    sequences = {"a": "ACGT", "bad": sequence}
    with pytest.raises(ValueError, match=f"x.fa line 1: record 'bad': {named}"):
        build(sequences)
    assert text(build(sequences, on_bad="skip")) == {"a": "ACGT"}
    corpus = build(sequences, on_bad="fix")
    assert set(text(corpus)["bad"]) <= set("ACGTN") and "N" in text(corpus)["bad"]
    assert corpus.report["bad_characters"] and corpus.report["exit_code"] == 1
    assert "position" in corpus.report["examples"][0]


def test_empty_short_long_and_unnamed_records_are_counted(build):
    corpus = build([("a", ""), ("b", "A"), ("", "ACGT"), ("d", "A" * 50)], min_length=2, max_length=10)
    assert text(corpus) == {"record_3": "ACGT"}
    report = corpus.report
    assert report["left_out"] == {"empty": 1, "shorter than 2": 1, "longer than 10": 1}
    assert (report["records"], report["kept"], report["unnamed"]) == (4, 1, 1)
    with pytest.raises(ValueError, match=r"x\.fa: nothing to build a corpus from: 1 empty"):
        build({"a": ""})


def test_duplicates_by_policy(build):
    sequences = [("a", "AC"), ("a", "GT"), ("a_2", "TT"), ("a", "CC")]
    with pytest.raises(ValueError, match=r"2 records share a name with another \(a\); set duplicates"):
        build(sequences)
    assert text(build(sequences, duplicates="first")) == {"a": "AC", "a_2": "TT"}
    assert list(text(build(sequences[:2] + sequences[3:], duplicates="suffix")).values()) == ["AC", "GT", "CC"]
    assert len(set(build(sequences, duplicates="suffix").ids)) == 4


PROTEIN = (
    "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVK"
    "ALPDAQFEVVHSLAKWKRQTLGQHDFSAGEGLYTHMKALRPDEDRLSPLHSVYVDQWDWERVM"
)


@pytest.mark.parametrize(
    ("alphabet", "sequence", "advice"),
    [
        ("dna", PROTEIN, "look like protein; use the alphabet 'protein'"),
        ("protein", "ACGTTGCA" * 10, "look like DNA; use the alphabet 'dna'"),
        ("protein", "ACGUUGCA" * 10, "look like RNA; use the alphabet 'dna'"),
        ("dna", "CC(=O)Oc1ccccc1C(=O)O" * 3, "look like SMILES; use the alphabet 'smiles'"),
    ],
)
def test_the_wrong_alphabet_is_told(build, alphabet, sequence, advice):
    with pytest.raises(ValueError, match=f"x.fa: the sequences {advice}"):
        build({"a": sequence}, alphabet=alphabet, on_bad="skip")


def test_rna_is_read_as_dna_and_proteins_lose_their_stop(build):
    assert text(build({"a": "ACGU" * 10})) == {"a": "ACGT" * 10}
    corpus = build({"a": PROTEIN + "*", "b": PROTEIN[:30] + "J"}, alphabet="protein")
    protein = get_tokenizer("protein")
    assert protein.decode(corpus[0]) == PROTEIN and protein.decode(corpus[1]) == PROTEIN[:30] + "X"
    assert corpus.report["stops_stripped"] == 1 and corpus.report["ambiguous"] == {"J": 1}


def test_text_all_in_lower_case_is_not_masked(build):
    corpus = build({"a": "acgt", "b": "ac"})
    assert not corpus.has_mask and "all lower case" in corpus.report["notes"][0]


def test_nothing_but_unknown_symbols_is_refused(build):
    with pytest.raises(ValueError, match=r"x\.fa: every symbol is ambiguous, like N$"):
        build({"a": "NNNN"})
    with pytest.raises(ValueError, match="set softmask to 'ignore'"):
        build({"a": "acgt"}, softmask="wildcard")
    assert text(build({"a": "acgt"}, softmask="ignore")) == {"a": "ACGT"}


def test_molecules_go_through_their_tokenizer(tmp_path):
    smiles = get_tokenizer("smiles")
    molecules = [r"F/C=C\F", "[Na+].[Cl-]", "C[C@@H](N)C(=O)O"]
    records = [record(str(i), m) for i, m in enumerate(molecules)]
    corpus = Corpus.build(records, tmp_path / "c", smiles.alphabet, encode=smiles.encode_bytes)
    assert [smiles.decode(corpus[i]) for i in range(3)] == molecules and corpus.wildcard is None
    with pytest.raises(ValueError, match="record '3': not SMILES: 'X' at position 2"):
        Corpus.build([record("3", "CX")], tmp_path / "c", smiles.alphabet, encode=smiles.encode_bytes)
    assert len(Corpus(tmp_path / "c")) == 3  # what failed changed nothing


def test_whole_or_not_at_all(build, tmp_path):
    build({"a": "ACGT"})
    with pytest.raises(ValueError, match="'E'"):
        build({"a": "AAAA", "b": "ACE"})
    assert text(Corpus(tmp_path / "corpus")) == {"a": "ACGT"}
    assert [p.name for p in tmp_path.iterdir()] == ["corpus"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match="is no corpus"):
        Corpus.build([record("a", "ACGT")], tmp_path / "mine", DNA.alphabet)
    assert (tmp_path / "mine" / "notes.txt").exists()


def test_damage_and_strangers_are_told(build, tmp_path):
    corpus = build({"chr1": "ACGT", "2": "AC"})
    with pytest.raises(ValueError, match="alphabet 'dna' of other ids than 'protein'"):
        corpus.check(get_alphabet("protein"))
    corpus.check(DNA.alphabet)
    assert corpus.find("1") == 0 and corpus.find("chr2") == 1
    with pytest.raises(ValueError, match=r"no record 'chr3' in .*; there are chr1, 2"):
        corpus.find("chr3")
    (corpus.path / "tokens.u8").write_bytes(b"123")
    with pytest.raises(ValueError, match="build it again"):
        Corpus(corpus.path)
    manifest = json.loads((corpus.path / "corpus.json").read_text())
    (corpus.path / "corpus.json").write_text(json.dumps({**manifest, "version": 99}))
    with pytest.raises(ValueError, match="version 99"):
        Corpus(corpus.path)
    with pytest.raises(ValueError, match="no corpus here"):
        Corpus(tmp_path)


def test_sources_and_policy_say_whether_it_is_fresh(tmp_path):
    path = tmp_path / "a.fa"
    path.write_text(">a\nACGT\n")
    corpus = Corpus.build(read_records(path), tmp_path / "c", DNA.alphabet, sources=[path])
    assert corpus.fresh(DNA.alphabet, [path]) and not corpus.fresh(get_alphabet("protein"), [path])
    assert not corpus.fresh(DNA.alphabet, [path], SequencePolicy(softmask="ignore"))
    path.write_text(">a\nACGA\n")
    assert not corpus.fresh(DNA.alphabet, [path])


def _sum(corpus, queue):
    queue.put(int(corpus[1].sum()))


@pytest.mark.parametrize("method", ["spawn"])
def test_other_processes_open_it_for_themselves(build, method):
    corpus = build({"a": "A" * 100_000, "b": "ACGT"})
    expected = int(corpus[1].sum())
    assert len(pickle.dumps(corpus)) < 10_000
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    process = context.Process(target=_sum, args=(corpus, queue))
    process.start()
    assert queue.get(timeout=60) == expected
    process.join()


@pytest.mark.parametrize(
    ("alphabet", "sequence", "told"),
    [
        ("protein", "ACDGHKMNRSTVWY" * 800, "no E, F, I, L, P, Q in 11,200 symbols: is the file as it should be?"),
        ("protein", "ADEFGHIKLMNPQRSTVWY" * 800, None),  # a family without cysteine
        ("protein", "ACDGHKMNRSTVWY" * 8, None),
        ("dna", "AGT" * 400, "no C in 1,200 symbols: is the file as it should be?"),
        ("dna", "ACGU" * 400, None),
    ],
)
def test_letters_that_never_occur_are_told(build, alphabet, sequence, told):
    assert build({"a": sequence}, alphabet).report["notes"] == ([] if told is None else [told])


def test_summary_is_two_lines(tmp_path):
    from xlstm_apps.datasets.sequences import QualityReport
    from xlstm_apps.datasets.sequences.cleaning import clean_records

    report = QualityReport()
    records = [record("a", "ACGTNNNNacgu"), record("b", ""), record("c", "ACGT")]
    kept = list(clean_records(records, DNA.alphabet, SequencePolicy(), report))
    assert len(kept) == 2
    first, second = report.summary().split("\n")
    assert first == "2 of 3 records, 16 symbols, 4 to 12 long"
    assert (
        second
        == "1 left out (empty); 25.00% ambiguous (many: is this the right file?); 25.0% lower case; 1 U read as T"
    )
    assert report.exit_code == 1 and json.loads(json.dumps(report.to_dict()))["composition"]["U"] == 1


def test_a_genome_comes_back(shared_data, tmp_path):
    pytest.importorskip("Bio", reason="needs Biopython")
    path = shared_data("dna/NC_000913.gbk.gz")
    corpus = Corpus.build(read_records(path), tmp_path / "c", DNA.alphabet, sources=[path])
    assert corpus.lengths.tolist() == [4_641_652] and corpus.report["exit_code"] == 0
    assert corpus.report["composition"] == {"A": 1142742, "C": 1180091, "G": 1177437, "T": 1141382}
    # thrL, the first gene: ATG at 190, stop at 255 (counted from 1)
    assert DNA.decode(corpus.fetch(0, 189, 255)) == "ATGAAACGCATTAGCACCACCATTACCACCACCATCACCATTACCACAGGTAACGGTGCGGGCTGA"


@pytest.mark.parametrize("name", ["Ecoli_prom.fa", "Ecoli_non_prom.fa", "Mouse_tata.fa", "Mouse_nonprom.fa"])
def test_promoter_sets_are_read_whole(shared_data, tmp_path, name):
    path = shared_data(f"dna/{name}")
    policy = SequencePolicy(duplicates="suffix")
    corpus = Corpus.build(read_records(path), tmp_path / "c", DNA.alphabet, policy=policy)
    assert len(corpus) == path.read_text().count(">") and set(corpus.lengths.tolist()) <= {81, 251}


def test_a_table_of_measurements(shared_data, tmp_path):
    path = shared_data("dna/sortseq_data.csv.gz")
    columns = TableColumns(sequence="x", labels=[f"ct_{i}" for i in range(10)], group="set")
    corpus = Corpus.build(read_records(path, columns=columns), tmp_path / "c", DNA.alphabet)
    assert len(corpus) > 45_000 and set(corpus.lengths.tolist()) == {75}
    assert DNA.decode(corpus[0]) == "AAAAAAAGTGAGTTAGCCAACTAATTAGGCACCGTACGCTTTATAGTTTTTGCTTCCGGCTCGTATGTTGTGTGG"
    assert corpus.labels[0] == [0, 1, 0, 0, 0, 0, 0, 0, 0, 0]
    split = split_by_parts(corpus, corpus.groups)
    assert len(split.train) > len(split.test) > 0 and len(split.train) + len(split.val) + len(split.test) == len(corpus)
