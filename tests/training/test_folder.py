import os
import shlex

import pytest

from xlstm_apps.training import FitConfig, RunFolder, files
from xlstm_apps.training.folder import command_line, find_run, new_path

CONFIG = {"fit": FitConfig(max_epochs=3), "seed": 1}


def test_a_run_folder_appears_whole(tmp_path):
    folder = RunFolder.create(tmp_path / "a" / "run", "toy", CONFIG, seed=1)
    assert folder.config["fit"]["max_epochs"] == 3 and folder.facts["status"] == "running" and not folder.finished
    folder.note(status="finished", parameters=5)
    assert folder.finished and folder.facts["task"] == "toy" and folder.facts["parameters"] == 5
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["run"]


@pytest.mark.parametrize(
    ("program", "name"), [("/venv/bin/xlstm-apps", "xlstm-apps"), ("/a/xlstm_apps/__main__.py", "python -m xlstm_apps")]
)
def test_the_command_of_a_run_can_be_given_again(program, name, monkeypatch):
    words = ["vision", "train", "--data.path", "my photos/*.jpg", "--data.label_column", "it's", ""]
    monkeypatch.setattr("sys.argv", [program, *words])
    assert shlex.split(command_line()) == [*name.split(), *words]


def test_changed_settings_are_listed(tmp_path):
    folder = RunFolder.create(tmp_path / "run", "toy", CONFIG, data_fingerprint="x")
    folder.check_same({"fit": FitConfig(max_epochs=3), "seed": 1}, data_fingerprint="x")
    with pytest.raises(ValueError, match=r"fit.learning_rate \(was None, is 0.1\), seed \(was 1, is 2\)"):
        folder.check_same({"fit": FitConfig(max_epochs=3, learning_rate=0.1), "seed": 2})
    with pytest.raises(ValueError, match="its data_fingerprint changed"):
        folder.check_same(CONFIG, data_fingerprint="y")


def test_a_used_folder_is_refused_with_advice(tmp_path):
    RunFolder.create(tmp_path / "run", "toy", CONFIG)
    with pytest.raises(ValueError, match="already holds a run; continue it with --resume"):
        new_path(tmp_path / "run", "toy", "x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(ValueError, match="not empty"):
        new_path(tmp_path / "other", "toy", "x")
    with pytest.raises(ValueError, match="no run folder"):
        RunFolder(tmp_path / "other")
    (tmp_path / "empty").mkdir()
    RunFolder.create(new_path(tmp_path / "empty", "toy", "x"), "toy", CONFIG)


def test_names_and_the_newest_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="nothing to resume: no run in runs/toy-x-"):
        find_run(None, "toy", "x")
    made = []
    for started in ("2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00"):
        folder = RunFolder.create(new_path(None, "toy", "x"), "toy", CONFIG)
        folder.note(started=started)
        made.append(folder.path)
    assert len(set(made)) == 2
    assert find_run(None, "toy", "x").path == made[1]
    assert find_run(tmp_path / "nowhere", "toy", "x") is None


def test_files_are_whole_or_absent(tmp_path):
    path = tmp_path / "sub" / "a.csv"
    files.write_rows(path, [{"a": 1}, {"a": 2, "b": 3}])
    assert path.read_text().split() == ["a,b", "1,", "2,3"]
    with pytest.raises(RuntimeError), files.replacing(path) as aside:
        aside.write_text("half")
        raise RuntimeError
    assert path.read_text().startswith("a,b") and [p.name for p in path.parent.iterdir()] == ["a.csv"]
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_folders_are_replaced_whole(tmp_path):
    for content in ("one", "two"):
        with files.replacing_folder(tmp_path / "model") as aside:
            (aside / content).touch()
    assert [p.name for p in (tmp_path / "model").iterdir()] == ["two"]
    with pytest.raises(RuntimeError), files.replacing_folder(tmp_path / "model"):
        raise RuntimeError
    assert [p.name for p in tmp_path.rglob("*")] == ["model", "two"]
