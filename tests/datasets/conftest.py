"""Small odd tables, written on the fly."""

import pytest

from xlstm_apps.datasets import SeriesData, load_table


@pytest.fixture
def load(tmp_path):
    """`load(text_or_bytes, name="sales.csv", **options)` writes the file and loads it."""

    def load_(content, name="sales.csv", **options):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return load_table(SeriesData(path=str(path), **options))

    return load_


@pytest.fixture
def refuses(load):
    """`refuses(text, *parts, **options)`: loading fails with one line that holds every part."""

    def refuses_(content, *parts, **options):
        with pytest.raises(ValueError) as caught:
            load(content, **options)
        message = str(caught.value)
        assert "\n" not in message
        for part in parts:
            assert part in message, message
        return message

    return refuses_
