"""The page: complete, self-contained, safe, and there for half a run too."""

import re
import shutil

import pytest
from fake_run import WEATHER

from xlstm_apps.report import page, write_report
from xlstm_apps.report.numbers import ABSENT
from xlstm_apps.report.run import Run

SECTIONS = [
    "forecasts", "comparison", "horizon", "series", "calibration", "residuals", "future", "training", "data",
    "configuration", "run",
]  # fmt: skip
SMALL = {"names": WEATHER[:2], "cutoffs": 1, "history": 12, "horizon": 6}
FILES = {
    "evaluation/forecasts.csv": "forecasts",
    "evaluation/comparison.csv": "comparison",
    "evaluation/horizon.csv": "horizon",
    "evaluation/series.csv": "series",
    "evaluation/calibration.csv": "calibration",
    "evaluation/residuals.csv": "residuals",
    "predictions.csv": "future",
    "metrics.csv": "training",
    "data_summary.json": "data",
    "config.yaml": "configuration",
    "run.json": "run",
}


def test_has_every_section_and_a_headline_with_numbers(run, read):
    report = read(run())
    assert report.sections == SECTIONS
    assert [tag for tag, _ in report.tags].count("h1") == 1
    assert "MAE 2.31, 24 % below seasonal naive" in report.text
    assert (
        "2 days ahead (48 steps) for 9 series from the 7 days before, scored on the held-out last 20 % (1,741 windows)"
        in report.text
    )
    assert "not finished" not in report.text and "loses" not in report.text
    assert len(report.data) == 11
    assert len(report.data[0]["keys"]) == len(report.data[0]["figures"]) == 21


def test_needs_no_network(run):
    text = write_report(run()).read_text(encoding="utf-8")
    own = text.replace(page.get_plotlyjs(), "")
    assert len(own) < 1_000_000 < len(text) < 7_000_000
    assert not re.search(r"\b(?:src|srcset|action|poster)\s*=", re.sub(r"<script.*?</script>", "", own, flags=re.S))
    assert re.findall(r'<link\b[^>]*href="([^"]*)"', own) == ["data:,"]
    assert not re.search(r"@import|url\(|https?://", own)
    # What plotly.js could fetch by itself (maps) or send (its cloud) is forbidden to the page as a whole.
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', own)
    assert policy is not None and "default-src 'none'" in policy[1] and "form-action 'none'" in policy[1]


def test_tables_and_charts_are_accessible(run, read):
    report = read(run())
    assert report.count("table") == report.count("caption") == report.count("thead") > 3
    assert all(attrs.get("scope") for tag, attrs in report.tags if tag == "th")
    charts = [attrs for _, attrs in report.tags if attrs.get("class") == "chart"]
    assert len(charts) == 11 and all(chart["role"] == "img" and chart["aria-label"] for chart in charts)
    ids = [attrs["id"] for _, attrs in report.tags if attrs.get("id")]
    assert len(ids) == len(set(ids))


def test_same_folder_same_bytes(run):
    folder = run()
    first = write_report(folder).read_bytes()
    assert write_report(folder).read_bytes() == first


@pytest.mark.parametrize("name", FILES)
def test_one_missing_file_costs_one_section(run, read, name):
    folder = run(**SMALL)
    (folder / name).unlink()
    report = read(folder)
    assert report.sections == [s for s in SECTIONS if s != FILES[name]] + ["absent"]
    assert f"{name} not written" in report.text


@pytest.mark.parametrize("content", [b"", b"\x00\xff\xfe\x00garbage", b"just,a,header\n", b"[1, 2"])
@pytest.mark.parametrize("name", FILES)
def test_a_broken_file_is_named_and_does_not_break_the_page(run, read, name, content):
    folder = run(**SMALL)
    (folder / name).write_bytes(content)
    report = read(folder)
    # The text of a configuration is shown as it is, whatever it is.
    left = [s for s in SECTIONS if s != FILES[name] or (name == "config.yaml" and b"\xff" not in content)]
    assert [s for s in report.sections if s != "absent"] == left
    assert name in report.text.partition("Not in this report")[2]


def test_unfinished_run_says_so(run, read):
    report = read(run(status="running"))
    assert "This run is not finished." in report.text
    folder = run()
    shutil.rmtree(folder / "evaluation")
    report = read(folder)
    assert "Not evaluated yet" in report.text
    assert report.sections == ["future", "training", "data", "configuration", "run", "absent"]


def test_empty_folder_has_a_page_and_a_file_none(tmp_path, read):
    report = read(tmp_path)
    assert "It is not known whether this run finished." in report.text
    assert report.sections == ["absent"]
    with pytest.raises(ValueError, match="not a run folder"):
        write_report(tmp_path / "report.html")


def test_other_tasks_have_what_all_have(run, read):
    folder = run()
    (folder / "run.json").write_text('{"task": "another", "status": "finished", "seed": 3}')
    assert read(folder).sections == ["training", "configuration", "run"]


def test_a_failed_page_leaves_the_old_one(run, read, monkeypatch):
    folder = run()
    read(folder)
    before = (folder / "report.html").read_bytes()
    monkeypatch.setattr(page, "render", lambda run: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(folder)
    assert (folder / "report.html").read_bytes() == before
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_what_users_named_is_text_and_nothing_else(run, read):
    evil = [
        "<script>alert(1)</script>",
        "</script><!--",
        "x" * 200,
        "温度 🌡 ünïcode",
        'a & b "q" &lt;',
        "{{ 7*7 }}",
        "",
    ]
    plain = read(run(names=[f"s{i}" for i in range(len(evil))]))
    report = read(run(names=evil, path="</title><script>alert(2)</script>"))
    assert report.count("script") == plain.count("script")
    assert {tag for tag, _ in report.tags} == {tag for tag, _ in plain.tags}
    assert {key[0] for key in report.data[0]["keys"]} == {*evil[:-1], ABSENT}
    for name in evil:
        assert " ".join(name.split()) in report.text
    assert "Forecast of script>" in report.text
    # plotly reads a little markup in text: what users wrote reaches it as entities.
    titles = [figure["layout"]["yaxis"]["title"]["text"] for figure in report.data[0]["figures"]]
    assert not any("<" in title for title in titles) and any("&lt;script&gt;" in title for title in titles)
    assert max(map(len, titles)) < 100


def test_thousands_of_series_stay_readable(run, read):
    folder = run(names=[f"store {i}" for i in range(5000)], plotted=80, history=12, horizon=3)
    report = read(folder)
    assert "The worst 100 of 5,000; evaluation/series.csv has all" in report.text
    assert "The first 60 of 240 forecasts" in report.text
    assert "The first 60 of 5,000 series" in report.text
    assert (folder / "report.html").stat().st_size < 2_000_000


def test_long_histories_are_thinned(run, read):
    report = read(run(names=["one"], history=3000, cutoffs=1, horizon=1000))
    figure = report.data[0]["figures"][0]
    assert max(map(len, figure["x"])) <= 3 * 600 + 800


def test_one_step_ahead_is_drawn(run, read):
    report = read(run(horizon=1))
    figure = report.data[0]["figures"][0]
    median = next(trace for trace in figure["data"] if trace["name"] == "xLSTM, median")
    assert "markers" in median["mode"] and len(median["y"]) == 1
    assert "1 hour ahead" in report.text


def test_figures_hold_numbers_that_json_has(run, read):
    folder = run()
    name = folder / "evaluation" / "forecasts.csv"
    lines = name.read_text().splitlines()
    cells = lines[-1].split(",")
    cells[3:6] = ["nan", "inf", "-inf"]
    name.write_text("\n".join([*lines[:-1], ",".join(cells)]))
    last = read(folder).data[0]["figures"][-1]["data"]
    assert [trace["y"][-1] for trace in last[:2]] == [None, 30.0] or last[0]["y"][-1] is None


@pytest.mark.slow
def test_draws_in_a_browser(run, browse):
    body = browse(run(names=WEATHER[:2], cutoffs=1))
    assert len(re.findall(r'class="chart[^"]*js-plotly-plot', body)) == 11
    assert 'class="chart failed' not in body
    assert len(re.findall("<option", body)) == 2 + 1 + 2


def test_run_reads_each_file_once(run, monkeypatch):
    folder = Run(run())
    table = folder.table("metrics.csv")
    (folder.path / "metrics.csv").unlink()
    assert folder.table("metrics.csv") is table
