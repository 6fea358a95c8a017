"""The command: one line and exit code 2 for every mistake, quick help, shipped recipes."""

import dataclasses
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from xlstm_apps import cli


@dataclass(frozen=True, kw_only=True)
class Data:
    """A section."""

    path: str
    """File to read."""

    columns: list[str] | None = None
    """Columns to use."""

    layout: Literal["auto", "wide"] = "auto"
    """How rows are laid out."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Another section."""

    max_epochs: int = 3
    """Passes over the data."""

    trainer: dict[str, Any] = field(default_factory=dict)
    """More options."""

    def __post_init__(self) -> None:
        if self.max_epochs < 0:
            raise ValueError("fit.max_epochs must not be negative")


DEFAULT_FIT = Fit()
CALLS: list[dict[str, Any]] = []


def train(data: Data, fit: Fit = DEFAULT_FIT, run_dir: str | None = None, seed: int = 0, resume: bool = False) -> None:
    """Train something.

    Args:
        data: The table.
        fit: How to fit.
        run_dir: Where results go.
        seed: Seed of all randomness.
        resume: Go on where it stopped.
    """
    CALLS.append({"data": data, "fit": fit, "run_dir": run_dir, "seed": seed, "resume": resume})


def predict(run_dir: str, output: str | None = None) -> None:
    """Predict something.

    Args:
        run_dir: Where the model is.
        output: Where the result goes.
    """
    CALLS.append({"run_dir": run_dir, "output": output})


@pytest.fixture(autouse=True)
def commands(monkeypatch):
    here = __name__
    tree = {"toy": {"train": f"{here}:train", "predict": f"{here}:predict"}, "ls": "xlstm_apps.recipes.catalog:ls"}
    monkeypatch.setattr(cli, "COMMANDS", tree)
    CALLS.clear()


def call(*argv: str) -> dict[str, Any]:
    assert cli.run(list(argv)) is None
    return CALLS[-1]


def test_flags_become_sections():
    got = call(
        "toy", "train", "--data.path", "a.csv", "--fit.max_epochs", "7", "--fit.trainer.max_steps", "3", "--seed=5"
    )
    assert got["data"] == Data(path="a.csv")
    assert got["fit"] == Fit(max_epochs=7, trainer={"max_steps": 3})
    assert (got["seed"], got["resume"], got["run_dir"]) == (5, False, None)


@pytest.mark.parametrize("written", ["a,b", "[a,b]", "[a, b]"])
def test_lists_are_written_with_commas(written):
    assert call("toy", "train", "--data.path", "x", "--data.columns", written)["data"].columns == ["a", "b"]


@pytest.mark.parametrize(("written", "meant"), [("null", None), ("north", ["north"]), ("[]", [])])
def test_a_list_option_may_be_null_or_one_word(written, meant):
    assert call("toy", "train", "--data.path", "x", "--data.columns", written)["data"].columns == meant


@pytest.mark.parametrize("flag", [["--resume"], ["--resume", "true"], ["--resume=true"], ["--resume", "--seed", "1"]])
def test_resume_needs_no_value(flag):
    assert call("toy", "train", "--data.path", "x", *flag)["resume"] is True


def test_leading_words_fill_plain_parameters():
    assert call("toy", "predict", "runs/a", "out.csv") == {"run_dir": "runs/a", "output": "out.csv"}
    assert call("toy", "predict", "--run_dir", "runs/a") == {"run_dir": "runs/a", "output": None}


def test_yaml_then_flags(tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("data: {path: a.csv, layout: wide}\nfit: {max_epochs: 9}\nseed: 4\n")
    got = call("toy", "train", "--config", str(recipe), "--fit.max_epochs", "2")
    assert (got["data"].layout, got["fit"].max_epochs, got["seed"]) == ("wide", 2, 4)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["tooy"], "unknown command 'tooy'; did you mean toy? try: xlstm-apps --help"),
        (["toy", "trian"], "did you mean train?"),
        (["toy", "train"], "missing --data.path"),
        (["toy", "train", "--data.pth", "a"], "unknown option --data.pth; did you mean --data.path?"),
        (["toy", "train", "--data.path", "a", "--fit.max_epochs", "x"], "--fit.max_epochs: expected int, got 'x'"),
        (["toy", "train", "--data.path", "a", "--data.layout", "tall"], "expected one of 'auto', 'wide', got 'tall'"),
        (["toy", "train", "--data.path", "a", "--fit.max_epochs", "-1"], "fit.max_epochs must not be negative"),
        (["toy", "train", "stray", "--data.path", "a"], "'stray' belongs to no option"),
        (["toy", "train", "--config", "none.yaml"], "none.yaml"),
        (["toy", "train", "--data.path"], "--data.path needs a value"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(argv, says, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(argv)
    out, err = capsys.readouterr()
    assert stop.value.code == 2
    assert says in err
    assert err.startswith("xlstm-apps: error: ") and err.count("\n") == 1
    assert out == "" and not CALLS


@pytest.mark.parametrize(
    "text", ["data: {path: a, colour: red}", "data: [", "fit: {max_epochs: many}\ndata: {path: a}", "\x00\x01", "7"]
)
def test_a_broken_recipe_is_one_line(text, tmp_path, capsys):
    recipe = tmp_path / "bad.yaml"
    recipe.write_text(text)
    with pytest.raises(SystemExit) as stop:
        cli.main(["toy", "train", "--config", str(recipe)])
    err = capsys.readouterr().err
    assert stop.value.code == 2
    assert err.startswith("xlstm-apps: error: ") and err.count("\n") == 1
    assert "Traceback" not in err and not CALLS


def test_an_unexpected_error_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "train", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["toy", "train"])


def test_help_shows_field_docstrings(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["toy", "train", "--help"])
    out = capsys.readouterr().out
    assert stop.value.code == 0
    for line in [f.name for f in dataclasses.fields(Fit)] + ["Passes over the data.", "Go on where it stopped."]:
        assert line in out
    text = " ".join(out.split())
    assert text.startswith("usage: xlstm-apps toy train --data.path PATH [--config recipe.yaml] [--section.key")
    assert "Passes over the data. (int; default: 3)" in text and "(default: false)" in text
    assert "--data.columns COLUMNS Columns to use. (a list of str, as in a,b; default: null)" in text


def test_usage_names_what_has_to_be_given():
    assert cli.usage("predict", predict) == "predict RUN_DIR [--config recipe.yaml] [--section.key value ...]"


def test_nobody_reading_the_output_is_no_error():
    command = f"{sys.executable} -m xlstm_apps --help | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stderr == ""


def test_overview_lists_commands(capsys):
    with pytest.raises(SystemExit):
        cli.main([])
    out = capsys.readouterr().out
    assert "toy train" in out and "Train something." in out


@pytest.mark.parametrize(
    "argv", [["--help"], ["forecast", "train", "--help"], ["sequence", "finetune", "--help"], ["ls"]]
)
def test_help_loads_no_torch_and_is_quick(argv):
    program = (
        "import sys, time; start = time.process_time()\n"
        "from xlstm_apps import cli\n"
        "try: cli.main(sys.argv[1:])\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        "heavy = {'torch', 'lightning', 'pandas', 'polars', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "print(time.process_time() - start)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, *argv], capture_output=True, text=True, check=True)
    # The bar is 0.6 s on an idle machine; processor time grows less than that by the clock where tests run beside it.
    assert float(done.stdout.splitlines()[-1]) < 1.2


def test_predicting_needs_no_trainer():
    program = "import sys\nimport xlstm_apps.recipes._forecast_saved\nassert 'lightning' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_folder_called_like_a_recipe_does_not_hide_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert cli.find_recipe("digits").endswith("vision/digits.yaml")
    (tmp_path / "mine").mkdir()
    with pytest.raises(ValueError, match="no file and no single shipped recipe is called 'mine'"):
        cli.find_recipe("mine")
