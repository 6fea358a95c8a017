"""Which backend runs, and how one is told about it."""

import logging
import sys

import pytest
import torch

from xlstm_apps.kernels import backends, dispatch, mlstm, rnn


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.delenv(dispatch.ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(dispatch, "_logged", set())
    monkeypatch.setattr(dispatch, "_modules", {})


def call(**options):
    x = torch.randn(1, 3, 1, 2)
    return mlstm(x, x, x, x[..., 0], x[..., 0], **options)


def test_backends_say_why_not():
    found = backends()
    assert list(found) == ["reference", "torch", "triton"]
    assert found["reference"].available and found["torch"].available
    assert all(status.name == name and status.detail for name, status in found.items())
    if not torch.cuda.is_available():
        assert not found["triton"].available


def test_auto_takes_torch_on_the_cpu_and_says_so_once(caplog):
    with caplog.at_level(logging.INFO, logger="xlstm_apps"):
        call()
        call()
    assert [record.getMessage() for record in caplog.records] == ["mlstm: backend torch (cpu tensors)"]


def test_the_environment_goes_first(monkeypatch, caplog):
    monkeypatch.setenv(dispatch.ENVIRONMENT_VARIABLE, "reference")
    with caplog.at_level(logging.INFO, logger="xlstm_apps"):
        call(backend="torch")
    assert "backend reference (asked for by XLSTM_APPS_BACKEND)" in caplog.text
    monkeypatch.setenv(dispatch.ENVIRONMENT_VARIABLE, "fastest")
    with pytest.raises(ValueError, match="XLSTM_APPS_BACKEND=fastest"):
        call()


def test_a_backend_asked_for_by_name_is_not_replaced(monkeypatch):
    monkeypatch.setattr(dispatch, "_triton_missing", lambda *_: "no CUDA device")
    with pytest.raises(ValueError, match="backend 'triton' cannot run this mlstm: no CUDA device"):
        call(backend="triton")
    with pytest.raises(ValueError, match="unknown backend"):
        rnn(torch.randn(1, 2, 1, 1, 3), torch.randn(1, 1, 3, 3), torch.zeros(1, 1, 3), cell="elman", backend="native")


def test_kernels_for_a_gpu_are_not_given_other_tensors(monkeypatch):
    monkeypatch.setattr(dispatch, "_not_installed", lambda op: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(ValueError, match="backend 'triton' cannot run this mlstm: its tensors are on cpu; the kernels"):
        call(backend="triton")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    assert backends()["triton"].available


def test_missing_triton_is_a_reason_and_not_an_error(monkeypatch):
    monkeypatch.setattr(dispatch.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(dispatch, "_not_installed", dispatch._not_installed.__wrapped__)  # past its cache
    assert backends()["triton"].detail == "the package triton is not installed"
    assert call().shape == (1, 3, 1, 2)


def test_an_error_inside_a_backend_is_not_hidden(monkeypatch):
    def broken(name):
        raise ImportError(f"{name} is broken")

    monkeypatch.setattr(dispatch, "_triton_missing", lambda *_: None)
    monkeypatch.setattr(dispatch.importlib, "import_module", broken)
    with pytest.raises(ImportError, match=r"mlstm\.triton is broken"):
        call(backend="triton")


def test_importing_needs_no_triton():
    assert "xlstm_apps.kernels" in sys.modules
    import subprocess

    code = "import sys; sys.modules['triton'] = None; import xlstm_apps.kernels as k; print(k.mlstm.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "mlstm"
