import pytest

from xlstm_apps.enumeration import first_few


@pytest.mark.parametrize(
    ("count", "text"), [(0, ""), (1, "0"), (3, "0, 1, 2"), (4, "0, 1, 2 and 1 more"), (2003, "0, 1, 2 and 2,000 more")]
)
def test_long_lists_end_in_how_many_more_there_are(count, text):
    assert first_few([str(i) for i in range(count)], 3) == text
