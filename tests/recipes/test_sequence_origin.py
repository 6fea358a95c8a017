import pytest

from xlstm_apps.recipes._sequence_origin import run_among


def test_a_run_says_alone_what_was_trained_on(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    assert run_among([]) is None and run_among(["a.fa", "b.fa"]) is None
    assert run_among([str(tmp_path)]) == tmp_path
    with pytest.raises(ValueError, match=f"{tmp_path} is a run, which is given alone"):
        run_among(["a.fa", str(tmp_path)])
