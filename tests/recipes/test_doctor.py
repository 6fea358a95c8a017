"""The numeric checks of `xlstm-apps doctor`, and what it says of packages."""

import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

from xlstm_apps.cli import run
from xlstm_apps.recipes import doctor


def test_it_knows_every_package_and_extra():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[\[>=<]", line)[0] for line in project["dependencies"]}
    assert {*doctor.PACKAGES} - {*doctor.NEEDLESS} == needed
    assert {*doctor.EXTRAS} == {*project["optional-dependencies"]} - {"all", "dev"}


def test_a_missing_package_is_a_line_and_the_rest_is_checked(monkeypatch, capsys):
    version = importlib.metadata.version

    def without(name):
        if name in ("jsonargparse", "rich"):
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without)
    for name in ("jsonargparse", "rich", "rich.console", "rich.table"):
        monkeypatch.setitem(sys.modules, name, None)
    assert run(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "missing, and needed: pip install jsonargparse rich" in out
    assert re.search(r"rnn slstm +torch +cpu +ok, error", out) and "all well" not in out


def test_every_available_backend_passes():
    rows = doctor.smoke_tests()
    results = {(operation, backend): result for operation, backend, _, result in rows}
    assert {backend for _, backend in results} == {"reference", "torch", "triton"}
    assert all(result.startswith(("ok", "not here")) for result in results.values()), results
    assert results["mlstm", "torch"].startswith("ok") and results["rnn slstm", "torch"].startswith("ok")


def test_a_wrong_kernel_is_noticed(monkeypatch):
    from xlstm_apps.kernels.mlstm import torch as backend

    right = backend.mlstm
    monkeypatch.setattr(backend, "mlstm", lambda *args, **options: (right(*args, **options)[0] * 1.01, None))
    results = {(operation, name): result for operation, name, _, result in doctor.smoke_tests()}
    assert results["mlstm", "torch"].startswith("FAILED")
    assert results["rnn slstm", "torch"].startswith("ok")
