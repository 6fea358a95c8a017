"""Pages about molecules: structures, spread of properties, where filters took them, whether anything was learned."""

import math

import numpy as np
import pytest

pytest.importorskip("rdkit", reason="needs RDKit")

from fake_sequence_run import fake_language_run
from rdkit import Chem

from xlstm_apps.datasets.molecules.metrics import Value
from xlstm_apps.datasets.molecules.properties import MOSES_PROPERTIES, measure
from xlstm_apps.report import molecule_blocks as blocks
from xlstm_apps.report import molecules as pages
from xlstm_apps.report import page, sequence_molecules
from xlstm_apps.report.run import Run
from xlstm_apps.report.sequence_molecules import FILE
from xlstm_apps.training.files import write_rows

SMALL = ["CCO", "c1ccccc1O", "CC(=O)NC1CC1", "CCN(CC)CC", "OC1CCCCC1"]
LARGE = [
    "CCCCCCCCCCCCCC",
    "CCOC(=O)CCCCCCCCC",
    "CCCCCCCCCCCCCCCC(=O)O",
    "c1ccc2c(c1)ccc1ccccc12",
    "CCCCCCCCOC(=O)c1ccccc1",
]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(page, "get_plotlyjs", lambda: "/* plotly */")


def test_structures_are_drawn_as_far_as_they_are_molecules():
    picture = blocks.structures(["no molecule", *SMALL[:2]], ["a", "b <script>", "c"])
    assert picture is not None and picture.svg.startswith("<svg") and picture.svg.count("<svg") == 1
    assert "<script" not in picture.svg
    assert blocks.structures(["no molecule"]) is None
    many = blocks.structures(["C" * n for n in range(1, 60)])
    assert many is not None and len(many.svg) < 200_000


def test_histograms_say_what_is_furthest_apart_and_leave_out_what_is_no_molecule():
    sets = [blocks.MoleculeSet.of("made", [*SMALL, "no molecule"]), blocks.MoleculeSet.of("known", LARGE)]
    assert len(sets[0].properties["mw"]) == len(SMALL)
    section = blocks.histograms(sets)
    assert section is not None and "of made and" in section.lead and "of known" in section.lead
    charts = [chart for row in section.blocks for chart in row.blocks]
    titles = [chart.figure["layout"]["xaxis"]["title"]["text"] for chart in charts]
    assert titles == ["logP", "SA, 1 easy to 10", "QED, drug-likeness", "molecular weight, g/mol"]
    for chart in charts:
        assert [trace["name"] for trace in chart.figure["data"]] == ["made", "known"]
        assert all(math.isclose(sum(trace["y"]), 1, rel_tol=1e-3) for trace in chart.figure["data"])
    assert blocks.histograms([blocks.MoleculeSet.of("made", ["no molecule"])]) is None


def test_a_large_set_is_measured_in_part(monkeypatch):
    monkeypatch.setattr(blocks, "MOST_MEASURED", 3)
    own = blocks.MoleculeSet.of("made", SMALL)
    assert len(own.properties["mw"]) == 3 and len(own.smiles) == len(SMALL)


def test_a_funnel_names_the_filter_that_took_most():
    section = blocks.funnel(100, [("syntax", 5, 95), ("mw<=320", 60, 35), ("no pains alert", 0, 35)])
    assert section.lead.replace("\xa0", " ") == "35 of 100 are left (35.0 %). Most were taken by mw<=320: 60."
    chart, table = section.blocks[0].blocks
    assert chart.figure["data"][0]["x"] == [100, 95, 35, 35] and len(table.rows) == 4
    assert "0 of 100" in blocks.funnel(100, [("syntax", 100, 0)]).lead


def test_the_page_of_generated_molecules(tmp_path):
    values = [
        Value("valid", 0.9, 1000, "share"), Value("unique", 0.8, 900, "share"), Value("novel", 0.3, 720, "share"),
        Value("snn", math.nan, 0, "similarity"),
    ]  # fmt: skip
    written = pages.write_evaluation(
        tmp_path / "page.html", subject="made.smi", smiles=SMALL, values=values, beside=values, training=SMALL[:1],
        held_out=LARGE, remarks=["compared with 3 held-out molecules"],
    )  # fmt: skip
    text = written.read_text().replace("\xa0", " ").replace("\u202f", " ")
    assert "90.0 % of 1,000 strings are molecules, 80.0 % of them distinct, 30.0 % of these not in training." in text
    assert "Most are copies." in text and "Few molecules." in text and text.count("<svg class") < 30
    assert "Compared with 3 held-out molecules." in text and "src=" not in text.split("<script")[0]
    assert len(pages.structures(["CCO"]).svg) > 100 and "of 4." in text  # the first is known


@pytest.mark.parametrize(("ours", "learned"), [([0.5, 0.6], True), ([0.2, 0.21], False), ([], None)])
def test_candidates_no_more_alike_than_without_what_was_given_are_called_so(tmp_path, ours, learned):
    found = pages.Candidates(
        subject="like", given=SMALL, smiles=LARGE[: len(ours)], legends=["x"] * len(ours),
        draws=[
            pages.Similar(name="like these", similarity=ours, draws=10, known=1, repeated=0),
            pages.Similar(name="as it was", similarity=[0.2, 0.2], draws=10, known=0, repeated=1),
        ],
    )  # fmt: skip
    text = pages.write_candidates(tmp_path / "page.html", found).read_text()
    assert ("No more like them than before." in text) is (learned is False)
    assert ("No candidate." in text) is (learned is None)
    assert "nan" not in text.split("<script")[0]


def test_the_page_of_a_filter_where_nothing_passes(tmp_path):
    written = pages.write_funnel(
        tmp_path / "page.html", subject="filter", read=3, stages=[("mw<=10", 3, 0)], kept=[], names=[], rejected=LARGE
    )
    assert "0 of 3" in written.read_text().replace("\xa0", " ")


def test_metrics_that_cannot_be_told_are_no_numbers():
    section = blocks.metrics([Value("snn", math.nan, 0, "x"), Value("valid", 0.5, 4, "y")], [])
    cells = [row[1] for row in section.blocks[0].rows]
    assert cells[0].sort is None and cells[1].text == "0.5000" and np.isclose(cells[1].sort, 0.5)


def rows(molecules, total, new=True):
    found = measure([Chem.MolFromSmiles(text) for text in molecules], MOSES_PROPERTIES)
    out = [
        {"set": "drawn", "smiles": text, "molecule": 1, "new": int(new)} | {k: v[n] for k, v in found.items()}
        for n, text in enumerate(molecules)
    ]
    empty = dict.fromkeys(MOSES_PROPERTIES, "")
    out += [{"set": "drawn", "smiles": "C1CC", "molecule": 0, "new": 1} | empty] * (total - len(molecules))
    return out + [{**row, "set": "held-out"} for row in out[: len(molecules)]]


def test_what_a_model_makes_up_stands_in_the_report_of_its_training(tmp_path):
    run = fake_language_run(tmp_path / "run", windows=30)
    assert sequence_molecules.molecules(Run(run)) is None and FILE not in Run(run).absent
    write_rows(run / FILE, rows([*SMALL, SMALL[0]], 12))
    section = sequence_molecules.molecules(Run(run))
    lead = section.lead.replace("\xa0", " ").replace("\u202f", " ")
    assert lead.startswith(
        "Of 12 strings drawn freely 50.0 % are molecules, 83.3 % of them distinct, 100.0 % of these not"
    )
    assert [block.kind for block in section.blocks] == ["picture", "row", "row"]
    write_rows(run / FILE, rows(SMALL[:2], 20, new=False))
    assert [block.kind for block in sequence_molecules.molecules(Run(run)).blocks] == ["notice"]
    assert "What it makes up" in page.render(Run(run))
