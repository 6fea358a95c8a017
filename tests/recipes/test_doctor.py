"""The numeric checks of `xlstm-apps doctor`."""

from xlstm_apps.recipes import doctor


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
