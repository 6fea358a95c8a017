import pytest

from xlstm_apps.core.whole_file import whole_file


def test_a_file_that_cannot_be_finished_leaves_the_old_one_alone(tmp_path):
    path = tmp_path / "state.safetensors"
    path.write_text("old")
    with pytest.raises(RuntimeError), whole_file(path) as aside:
        aside.write_text("half")
        raise RuntimeError
    assert [*tmp_path.iterdir()] == [path] and path.read_text() == "old"
    with whole_file(path) as aside:
        aside.write_text("new")
    assert [*tmp_path.iterdir()] == [path] and path.read_text() == "new"
