"""The curve of what homologs are worth: drawn where there is one, honest where they are worth nothing."""

import csv

import pytest
from fake_sequence_run import fake_language_run

from xlstm_apps.report import page
from xlstm_apps.report.run import Run
from xlstm_apps.report.sequence_homologs import homologs, sets

FIELDS = ("homologs", "control", "targets", "symbols", "bits", "perplexity")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(page, "get_plotlyjs", lambda: "/* plotly */")


@pytest.fixture
def folder(tmp_path):
    return fake_language_run(tmp_path / "run", windows=30)


def write(folder, real, shuffled=(), fields=FIELDS):
    with (folder / "evaluation" / "homologs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(fields)
        for control, values in (("real", real), ("shuffled", shuffled)):
            for n, value in enumerate(values):
                writer.writerow([[0, 1, 4, 16][n], control, 40, 8000, 3.0, value])


def lead(folder):
    section = homologs(Run(folder))
    return section.lead.replace("\xa0", " ").replace("\u202f", " ")


def test_a_curve_that_falls_and_its_control(folder, read):
    write(folder, [16.0, 12.0, 9.0, 8.0], [16.0, 15.9, 15.8, 15.7])
    report = read(folder)
    assert report.sections[:3] == ["comparison", "homologs", "context"] and "absent" not in report.sections
    assert "Perplexity falls from 16.00 alone to 8.00 with 16 homologs (50 %)" in report.text
    assert "shuffled leave 15.70: it is their order that is read." in report.text
    chart = next(d for d in report.data if "homologs read" in d["layout"]["xaxis"].get("title", {}).get("text", ""))
    assert chart["x"] == [["0", "1", "4", "16"]] and len(chart["data"]) == 2
    assert chart["data"][0]["y"] == [16, 12, 9, 8]


def test_composition_alone_is_called_so(folder):
    write(folder, [16.0, 12.0, 9.0, 8.0], [16.0, 12.5, 9.5, 8.5])
    assert "shuffled ones bring as much as 8.50: a good part is what residues" in lead(folder)


def test_no_help_and_a_rise_are_said(folder):
    write(folder, [16.0, 16.0, 15.95, 16.1], [16.0, 16.0, 16.0, 16.0])
    assert lead(folder).startswith("Homologs add nothing: perplexity is 16.00 alone and 16.10 with 16.")
    write(folder, [16.0, 12.0, 9.0, 14.0])
    assert "(44 %), and rises to 14.00 with 16." in lead(folder)


def test_without_the_file_nothing_is_missed_and_a_broken_one_is_named(folder, read):
    assert "homologs" not in read(folder).sections and "homologs.csv" not in read(folder).text
    write(folder, [], [16.0])
    assert "evaluation/homologs.csv has no row of real homologs" in read(folder).text
    write(folder, [16.0], fields=("shown", *FIELDS[1:]))
    assert "evaluation/homologs.csv has no column homologs" in read(folder).text
    write(folder, [16.0])
    assert "Perplexity 16.00 with 0 shown; nothing to compare it with." in lead(folder)


def test_molecules_of_a_set_and_of_another(folder):
    rows = [
        (n, control, 40, 1000, 3.0, value)
        for control, values in (("real", [10.0, 8.0, 7.0]), ("other", [10.0, 9.9, 9.8]))
        for n, value in zip((0, 1, 4), values, strict=True)
    ]
    with (folder / "evaluation" / "sets.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("molecules", "control", "targets", "symbols", "bits", "perplexity"), *rows])
    section = sets(Run(folder))
    lead = section.lead.replace("\xa0", " ").replace("\u202f", " ")
    assert lead.startswith("Perplexity falls from 10.00 alone to 7.00 with 4 molecules (30 %); as many of another set")
    table = section.blocks[0].blocks[1]
    assert [column.title for column in table.columns] == ["Shown", "perplexity", "other", "bits", "molecules"]
    assert homologs(Run(folder)) is None
