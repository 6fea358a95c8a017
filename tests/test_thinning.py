import pytest

from xlstm_apps.thinning import evenly


@pytest.mark.parametrize(
    ("length", "most", "chosen"),
    [(0, 3, []), (2, 3, [0, 1]), (3, 3, [0, 1, 2]), (9, 3, [0, 4, 8]), (9, 1, [0]), (11, 4, [0, 3, 7, 10])],
)
def test_a_few_are_spread_from_the_first_to_the_last(length, most, chosen):
    assert evenly(length, most).tolist() == chosen
