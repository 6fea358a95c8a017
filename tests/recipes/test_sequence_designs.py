"""`sequence designs`: made-up proteins beside their family, as a page and a table."""

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from xlstm_apps.datasets.sequences.designs import Proteins, distance, judge_designs, shares
from xlstm_apps.recipes.sequence_designs import designs
from xlstm_apps.report import page

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(page, "get_plotlyjs", lambda: "/* plotly */")


@pytest.fixture
def files(tmp_path):
    """A family of eight with gaps, and four designs: a copy, one half changed, a repeat, a stranger."""
    draw = np.random.default_rng(0)
    root = draw.choice(list(RESIDUES), 60)
    rows = ["".join(np.where(draw.random(60) < 0.2, draw.choice(list(RESIDUES), 60), root)) for _ in range(8)]
    family, made = tmp_path / "family.fa", tmp_path / "made.fa"
    family.write_text("".join(f">member_{n}\n{row[:30]}--{row[30:]}\n" for n, row in enumerate(rows)))
    half = "".join(draw.choice(list(RESIDUES), 30)) + rows[2][30:]
    texts = [rows[1], half, rows[1], "".join(draw.choice(list(RESIDUES), 50))]
    made.write_text(
        "".join(f">d{n} added=60 bits_per_token={n + 1}.5 ended=yes\n{text}\n" for n, text in enumerate(texts))
    )
    return made, family


def text_of(path: Path) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", path.read_text())).replace("\u202f", " ").replace("\xa0", " ")


def test_a_page_and_a_table(files, tmp_path, capsys):
    made, family = files
    out, table = tmp_path / "d.html", tmp_path / "d.csv"
    training = tmp_path / "training.fa"
    training.write_text(family.read_text().replace(">member_1\n", ">other\n"))
    designs(str(made), str(family), page=str(out), output=str(table), training=[str(training)])
    frame = pl.read_csv(table)
    assert frame["id"].to_list() == ["d0", "d1", "d2", "d3"] and frame["length"].to_list() == [60, 60, 60, 50]
    assert frame["nearest"][0] == "member_1" and frame["nearest_training"][0] == "other"
    assert frame["identity"][0] == 1 and 0.5 < frame["identity"][1] < 0.75 and frame["identity"][3] < 0.5
    assert frame["repeated"].to_list() == [False, False, True, False]
    assert frame["perplexity"].to_list() == pytest.approx([2**1.5, 2**2.5, 2**3.5, 2**4.5])
    text = text_of(out)
    assert "4 designs, half of them with" in text and "1 design of 4, already made before." in text
    assert "Length and composition" in text and "Near copies" in text
    assert "1 are the same as an earlier one" in capsys.readouterr().err


def test_tables_bring_their_bits_and_empty_designs_are_counted(files, tmp_path, capsys):
    _, family = files
    made = tmp_path / "made.tsv"
    made.write_text("id\tsequence\tbits_per_token\na\tMKTAYIAK\t2.0\nb\tMKTAYIAR\t\n")
    designs(str(made), str(family), page=str(tmp_path / "d.html"), output=str(tmp_path / "d.tsv"))
    assert pl.read_csv(tmp_path / "d.tsv", separator="\t")["perplexity"].to_list() == [4.0, None]
    fasta = tmp_path / "made.fa"
    fasta.write_text(">a\nMKTAYIAK\n>b\n\n>c\n*\n")
    designs(str(fasta), str(family), page=str(tmp_path / "d.html"))
    assert "2 without a residue left out" in capsys.readouterr().err


def test_context_names_its_members(files, tmp_path, capsys):
    from xlstm_apps.biosequence import SequenceConfig, SequenceModel
    from xlstm_apps.biosequence.family import read_homologs
    from xlstm_apps.core.config import xLSTMConfig

    made, family = files
    model = SequenceModel(SequenceConfig(alphabet="protein"), xLSTMConfig(embedding_dim=16, num_blocks=1)).eval()
    for names, file in ((["member_4", "member_5"], "own"), (["else"], "other"), ([], "empty")):
        state = read_homologs(model, [[np.array([4, 5], np.uint8)]], {"contexts": [{"homologs": names}]})
        state.save(tmp_path / f"{file}.safetensors")
    table = tmp_path / "d.csv"
    options = {"page": str(tmp_path / "d.html"), "output": str(table)}
    designs(str(made), str(family), context=str(tmp_path / "own.safetensors"), **options)
    frame = pl.read_csv(table)
    assert set(frame["nearest_context"]) <= {"member_4", "member_5"} and frame["identity_context"][0] < 1
    with pytest.raises(ValueError, match="none of its 1 homologs is in"):
        designs(str(made), str(family), context=str(tmp_path / "other.safetensors"), **options)
    designs(str(made), str(family), context=str(tmp_path / "empty.safetensors"), **options)
    assert "nearest_context" not in pl.read_csv(table).columns
    assert "holds no homolog, so there is none to compare with" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("content", "message"),
    [(">a\nMK1T\n", "made.fa: a"), (">a\n\n", "holds no protein"), ("", "empty")],
)
def test_designs_that_are_none_are_named(files, tmp_path, content, message):
    made, family = files
    made.write_text(content)
    with pytest.raises(ValueError, match=message):
        designs(str(made), str(family), page=str(tmp_path / "d.html"))
    assert not (tmp_path / "d.html").exists()


def test_targets_are_checked_first(files, tmp_path):
    made, family = files
    with pytest.raises(ValueError, match=r"write to a \.html file"):
        designs(str(made), str(family), page=str(tmp_path / "d.txt"))
    with pytest.raises(ValueError, match=r"output .*\.parquet file"):
        designs(str(made), str(family), page=str(tmp_path / "d.html"), output=str(tmp_path / "d.txt"))


def test_a_family_of_one_has_no_members_to_compare_with_one_another(tmp_path):
    one = Proteins(["a"], [b"MKTAYIAKQR"])
    found = judge_designs(Proteins(["x"], [b"MKTAYIAKQK"]), one)
    assert len(found.natural) == 0 and found.table["identity"].to_list() == [0.9]
    from xlstm_apps.report import write_designs

    write_designs(tmp_path / "d.html", found, subject="x beside a")
    assert "half of them with 90 % or more" in text_of(tmp_path / "d.html")


def test_composition_distance_is_nought_for_the_same_and_one_for_nothing_in_common():
    assert distance(shares([b"AACC"]), shares([b"CA", b"AC"])) == 0
    assert distance(shares([b"AA"]), shares([b"CC"])) == pytest.approx(1)
