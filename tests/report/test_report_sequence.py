"""The pages of sequence runs: complete, honest, and there for half a run too."""

import csv
import json
import re
import shutil

import pytest
from fake_sequence_run import fake_language_run, fake_prediction_run

from xlstm_apps.report import page
from xlstm_apps.report.run import Run
from xlstm_apps.report.sequence_data import SequenceSummary
from xlstm_apps.report.sequence_scores import Comparison, title

LANGUAGE = ["comparison", "context", "symbols", "records", "training", "data", "configuration", "run"]
LANGUAGE_FILES = {
    "evaluation/comparison.csv": "comparison",
    "evaluation/positions.csv": "context",
    "evaluation/symbols.csv": "symbols",
    "evaluation/records.csv": "records",
    "metrics.csv": "training",
    "data_summary.json": "data",
    "config.yaml": "configuration",
    "run.json": "run",
}
PREDICTION = [
    "comparison", "classes", "thresholds", "calibration", "predictions", "training", "data", "configuration", "run",
]  # fmt: skip
PREDICTION_FILES = {
    "evaluation/comparison.csv": "comparison",
    "evaluation/thresholds.csv": "thresholds",
    "evaluation/calibration.csv": "calibration",
    "evaluation/predictions.csv": "predictions",
}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Pages without the megabytes of plotly."""
    monkeypatch.setattr(page, "get_plotlyjs", lambda: "/* plotly */")


@pytest.fixture
def language(tmp_path):
    return lambda **options: fake_language_run(tmp_path / "run", **{"windows": 60, **options})


@pytest.fixture
def prediction(tmp_path):
    return lambda **options: fake_prediction_run(tmp_path / "run", **{"records": 200, **options})


def write(path, *rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def verdict(folder):
    sentence, tone = Comparison.read(Run(folder)).verdict()
    return sentence.replace("\xa0", " ").replace("\N{NON-BREAKING HYPHEN}", "-"), tone


def test_language_model_has_every_section_and_numbers_in_words(language, read):
    report = read(language(windows=452))
    assert report.sections == LANGUAGE
    assert "1.912 bits per base, 1.1 % below Markov order 11 (1.934)" in report.text
    assert "Predicts each base from those before it, in windows of 1,024 bases" in report.text
    assert "Tested once, on 462,848 bases held out." in report.text
    assert "xLSTM is ahead of all 3 baselines in bits." in report.text
    assert "From about 64 on, more context gains little." in report.text
    assert "T is expected best (37.0 % where it stands), G worst (33.0 %)." in report.text
    assert "GC 50.8 %" in report.text and "loses" not in report.text


def test_predictions_have_every_section_and_numbers_in_words(prediction, read):
    report = read(prediction(skill=3.0))
    assert report.sections == PREDICTION
    assert "Tells bacillus from ecoli, trained on 1,600 sequences, from scratch." in report.text
    assert "What it takes to find the ecoli" in report.text
    assert "Not everything was used. 2 records left out: shorter than 50." in report.text
    assert "loses" not in report.text and "within chance" not in report.text
    heads = [c["z"] for d in report.data for c in d.get("data", []) if c["type"] == "heatmap"]
    assert len(heads) == 1 and sum(heads[0][0]) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", LANGUAGE_FILES)
def test_one_missing_file_costs_one_section(language, read, name):
    folder = language()
    (folder / name).unlink()
    report = read(folder)
    if name == "run.json":  # the task is not known either
        assert report.sections == ["training", "configuration", "absent"]
    else:
        assert report.sections == [s for s in LANGUAGE if s != LANGUAGE_FILES[name]] + ["absent"]
    assert f"{name} not written" in report.text


@pytest.mark.parametrize("name", PREDICTION_FILES)
def test_one_missing_file_of_predictions_costs_one_section(prediction, read, name):
    folder = prediction()
    (folder / name).unlink()
    report = read(folder)
    assert report.sections == [s for s in PREDICTION if s != PREDICTION_FILES[name]] + ["absent"]


@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff\xfe\x00garbage", b"just,a,header\n", b"[1, 2", b"id,bits\n,\nx,y\n"]
)
@pytest.mark.parametrize("name", [*LANGUAGE_FILES][:4])
def test_a_broken_file_is_named_and_does_not_break_the_page(language, read, name, content):
    folder = language()
    (folder / name).write_bytes(content)
    report = read(folder)
    assert [s for s in report.sections if s != "absent"] == [s for s in LANGUAGE if s != LANGUAGE_FILES[name]]
    assert name in report.text.partition("Not in this report")[2]


def test_summaries_of_unexpected_shape_are_survived(language, prediction, read):
    for text in (
        '{"quality": 3, "split": [1], "leakage": null, "labels": "x"}',
        '{"leakage": {"copies": "many"}}',
        "{}",
    ):
        folder = language()
        (folder / "data_summary.json").write_text(text)
        assert "comparison" in read(folder).sections
        shutil.rmtree(folder)
        folder = prediction()
        (folder / "data_summary.json").write_text(text)
        assert "classes" in read(folder).sections
        shutil.rmtree(folder)


def test_a_model_that_loses_says_so(language, read):
    folder = language(bits=1.957)
    assert verdict(folder) == ("1.957 bits per base, 1.2 % above Markov order 11 (1.934): the model loses", "bad")
    report = read(folder)
    assert "The model loses to a baseline." in report.text
    assert "Markov order 11 (1.934) and LSTM (1.951) have fewer bits than its 1.957." in report.text


def test_the_same_bits_are_no_gain(language):
    assert verdict(language(bits=1.9335)) == ("1.933 bits per base, no better than Markov order 11 (1.934)", "bad")


def test_without_a_baseline_it_cannot_be_judged(language):
    folder = language()
    write(folder / "evaluation" / "comparison.csv", ["model", "bits"], ["xlstm", 1.9])
    assert verdict(folder) == ("1.900 bits per base, with no baseline beside it to judge it by", "warning")


def test_no_number_is_no_result(language):
    folder = language()
    write(folder / "evaluation" / "comparison.csv", ["model", "bits"], ["xlstm", "nan"], ["unigram", 2])
    assert verdict(folder)[1] == "bad" and "not a number" in verdict(folder)[0]


def test_masked_models_are_not_compared_without_a_word(language, read):
    report = read(language(objective="masked"))
    assert "bits per hidden base" in report.text
    assert "have the harder task" in report.text
    assert "By place in the window" in report.text and "more context gains" not in report.text


def test_near_copies_are_said_where_the_verdict_is(language, read):
    assert "The test is not independent" in read(language(near_copies=12)).text
    assert "The test is not independent" not in read(language(near_copies=1)).text
    assert "1 of 60 test windows (1.7 %) has a near copy in training." in read(language(near_copies=1)).text


def test_within_chance_is_said(prediction, read):
    folder = prediction(records=100, skill=1.6, baseline=0.72)
    sentence, tone = verdict(folder)
    assert tone == "warning" and "though within chance" in sentence
    assert "cannot be told apart on these test records" in read(folder).text


def test_clearly_behind_a_baseline_is_a_loss(prediction, read):
    folder = prediction(records=400, skill=0.3, baseline=0.95)
    assert verdict(folder)[1] == "bad" and "the model loses" in verdict(folder)[0]
    assert "have a higher MCC than its" in read(folder).text.replace("\xa0", " ")


def test_no_better_than_the_largest_class_is_said(prediction, read):
    folder = prediction()
    summary = json.loads((folder / "data_summary.json").read_text())
    summary["labels"]["test"] = {"bacillus": 990, "ecoli": 10}
    (folder / "data_summary.json").write_text(json.dumps(summary))
    assert "Always saying bacillus is right for 99.0 %" in read(folder).text


def test_many_classes_have_a_matrix_and_a_table(prediction, read):
    names = [f"family {i}" for i in range(24)]
    report = read(prediction(classes=names, records=600, skill=2.5))
    assert "thresholds" not in report.sections and "absent" not in report.sections
    assert all(name in report.text for name in names)
    folder = prediction(classes=[f"family {i}" for i in range(60)], records=900)
    assert "too many to draw" in read(folder).text


def test_labels_without_a_confusion_matrix(prediction, read):
    report = read(prediction(task="multilabel", classes=["enhancer", "promoter", "insulator"], baseline=0.7))
    assert "absent" in report.sections  # labels have a calibration too, which this run lacks
    assert "confusion.csv" not in report.text and "thresholds.csv" not in report.text
    assert "AUROC" in report.text and "By label" in report.text
    assert "got a wrong label" in report.text
    told = report.text.partition("The surest mistakes")[2]
    assert "enhancer" in told or "promoter" in told or "insulator" in told


@pytest.mark.parametrize("classes", [("outside", "membrane"), ("helix", "strand", "coil")])
def test_symbols_are_drawn_along_the_records(prediction, read, classes):
    folder = prediction(classes=classes)
    text = (folder / "config.yaml").read_text().replace("per_symbol: false", "per_symbol: true")
    (folder / "config.yaml").write_text(text)
    (folder / "evaluation" / "predictions.csv").unlink()
    share = 1 / len(classes)
    rows = [[f"r{i // 9}", i % 9 + 1, "A", classes[i % 2], classes[0], *[share] * len(classes)] for i in range(27)]
    header = ["id", "position", "symbol", "label", "predicted", *(f"p_{name}" for name in classes)]
    write(folder / "evaluation" / "symbols_predicted.csv", header, *rows)
    report = read(folder)
    assert "Along the bases" in report.text
    assert "absent" not in report.sections and "In the records shown, 14 of 27 are right." in report.text
    figures = next(d["figures"] for d in report.data if "keys" in d)
    assert len(figures) == 3 and figures[0]["data"][0]["name"] == "truth"


def test_numbers_of_symbols_are_drawn_along_the_records(prediction, read):
    folder = prediction(task="regression", classes=["signal"])
    text = (folder / "config.yaml").read_text().replace("per_symbol: false", "per_symbol: true")
    (folder / "config.yaml").write_text(text)
    (folder / "evaluation" / "predictions.csv").unlink()
    rows = [[f"r{i // 9}", i % 9 + 1, "A", i / 2, i / 3] for i in range(27)]
    write(folder / "evaluation" / "symbols_predicted.csv", ["id", "position", "symbol", "target", "predicted"], *rows)
    report = read(folder)
    assert "Along the bases" in report.text and "Predicts signal of every base" in report.text


def test_numbers_are_drawn_against_the_truth(prediction, read):
    report = read(prediction(task="regression", classes=["expression"], skill=0.9, baseline=0.5))
    assert report.sections == ["comparison", "predictions", "training", "data", "configuration", "run"]
    assert "Predicts expression" in report.text and "Pearson r 0.9" in report.text
    report = read(prediction(task="regression", classes=["leaf", "root"], skill=0.5, baseline=0.5))
    keys = [d["keys"] for d in report.data if "keys" in d]
    assert keys == [[["leaf"], ["root"]]]


def test_unfinished_run_says_so(language, prediction, read):
    folder = language(status="running")
    shutil.rmtree(folder / "evaluation")
    report = read(folder)
    assert "This run is not finished." in report.text and "Not evaluated yet" in report.text
    assert report.sections == ["training", "data", "configuration", "run", "absent"]


def test_what_users_named_is_text_and_nothing_else(language, prediction, read):
    evil = "</script><img src=x onerror=alert(1)><!--"
    plain, report = read(language()), read(language(record=evil, path=json.dumps(evil)))
    assert {tag for tag, _ in report.tags} == {tag for tag, _ in plain.tags} and evil in report.text
    titles = [f["layout"]["xaxis"]["title"]["text"] for d in report.data if "keys" in d for f in d["figures"]]
    assert titles and not any("<" in text for text in titles)
    report = read(prediction(classes=[evil, "{{ 7*7 }}", "'; DROP"]))
    assert evil in report.text and "{{ 7*7 }}" in report.text and report.count("img") == 0
    drawn = [t for d in report.data for t in d.get("data", []) if t["type"] == "heatmap"]
    assert "<" not in "".join(drawn[0]["y"])


def test_names_that_look_like_numbers_stay_names(prediction, read):
    report = read(prediction(classes=["007", "1e3"]))
    assert "007" in report.text and "1e3" in report.text and "1000" not in report.text


@pytest.mark.parametrize("ends", ["inside", "outside"])
def test_bins_are_named_alike_whichever_way_they_end(language, read, ends):
    folder = language()
    last = {"inside": [0, 1, 3], "outside": [1, 2, 4]}[ends]
    rows = [[start, end, 1000, 2 - 0.1 * i] for i, (start, end) in enumerate(zip([0, 1, 2], last, strict=True))]
    write(folder / "evaluation" / "positions.csv", ["position", "position_end", "count", "xlstm"], *rows)
    report = read(folder)
    figure = next(d for d in report.data if d.get("x") == [["0", "1", "2–3"]])  # noqa: RUF001
    assert figure["data"][0]["y"] == [2.0, 1.9, 1.8]
    assert "It still falls at the end: a longer context may help." in report.text


@pytest.mark.parametrize(
    ("bits", "count", "words"),
    [
        ([2.0, 1.97, 1.9, 1.9, 1.9], 1e6, "From about 2 on, more context gains little."),
        ([2.0, 1.97, 1.96, 1.95, 1.94], 1e6, "It still falls at the end"),
        ([2.0, 1.95, 1.9, 1.92, 1.96], 1e6, "gets worse again"),
        ([2.0, 1.95, 1.9, 1.92, 1.96], 500, "From about 1 on"),
        ([2.0, 1.99, 2.01, 2.0, 1.99], 400, "Nothing can be told of a use of context"),
    ],
)
def test_what_context_is_worth_is_told_with_its_noise(language, read, bits, count, words):
    folder = language()
    rows = [[i, i, count, v] for i, v in enumerate(bits)]
    write(folder / "evaluation" / "positions.csv", ["position", "position_end", "count", "xlstm"], *rows)
    assert words in read(folder).text


@pytest.mark.slow
@pytest.mark.parametrize("make", ["language", "prediction"])
def test_draws_in_a_browser(make, browse, monkeypatch, request):
    monkeypatch.undo()  # plotly is needed here
    body = browse(request.getfixturevalue(make)())
    assert len(re.findall(r'class="chart[^"]*js-plotly-plot', body)) == {"language": 5, "prediction": 7}[make]
    assert 'class="chart failed' not in body


def test_titles():
    names = {
        "markov-11": "Markov order 11",
        "kmer-6-logistic": "6-mer logistic regression",
        "6-mer-logistic": "6-mer logistic regression",
        "place-ridge": "one-hot ridge regression",
        "one-hot-ridge": "one-hot ridge regression",
        "unigram": "symbol frequencies",
        "my_model": "my model",
    }
    assert {name: title(name).replace("\N{NON-BREAKING HYPHEN}", "-") for name in names} == names


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("[sample:ecoli-k12]", "ecoli-k12"),
        ("[/data/genome.fa.gz, /data/b.fa]", "genome and 1 more"),
        ("['families/*.a3m']", "families"),
        ("['families/globin*.a3m']", "globin"),
        ("['*.fa']", "sequences"),
    ],
)
def test_data_are_called_what_people_call_them(tmp_path, path, name):
    (tmp_path / "config.yaml").write_text(f"data:\n  path: {path}\n", encoding="utf-8")
    assert SequenceSummary.read(Run(tmp_path)).name == name
