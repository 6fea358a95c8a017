"""Labels as people write them, and what is made of them."""

import numpy as np
import pytest

from xlstm_apps.biosequence import HeadConfig
from xlstm_apps.estimators.sequence_targets import read_targets

NAN = float("nan")


def read(labels, columns=None, lengths=None, **head):
    lengths = None if lengths is None else np.array(lengths)
    return read_targets(labels, HeadConfig(**head), columns=columns, lengths=lengths)


def test_text_is_classes():
    found = read(["b", "a", None, "b", " "])
    assert (found.head.task, found.head.num_outputs, found.head.names) == ("classification", 2, ("a", "b"))
    assert found.values.tolist() == [1, 0, -1, 1, -1] and found.known.tolist() == [True, True, False, True, False]
    assert found.counts(np.array([0, 1, 2])) == {"a": 1, "b": 1}
    assert read(["b", "a"], names=("b", "a")).values.tolist() == [0, 1]


def test_whole_numbers_are_classes_in_their_order_unless_said_otherwise():
    found = read([10, 2, 2, None])
    assert found.head.names == ("2", "10") and found.values.tolist() == [1, 0, 0, -1]
    assert "set head.task to regression" in found.notes[0]
    numbers = read([10, 2, 2, None], task="regression")
    assert numbers.head.names == ("target",) and numbers.values[:3, 0].tolist() == [10, 2, 2]
    assert np.isnan(numbers.values[3, 0]) and numbers.known.tolist() == [True, True, True, False]
    assert read([0.5, 1.0]).head.task == "regression"
    assert read(list(range(21))).head.task == "regression"


def test_columns_of_0_and_1_are_labels_others_numbers():
    found = read([[1, 0], [0, None], [None, None]], columns=["x", "y"])
    assert found.head.task == "multilabel" and found.head.names == ("x", "y")
    np.testing.assert_array_equal(found.values, [[1, 0], [0, NAN], [NAN, NAN]])
    assert found.known.tolist() == [True, True, False] and found.counts(np.array([0, 1])) == {"x": 1, "y": 0}
    assert read([[1, 0.5], [0, 1]], columns=["x", "y"]).head.task == "regression"
    assert read([["true", "no"], ["0", "1"]]).values.tolist() == [[1, 0], [0, 1]]
    words = read(["nucleus;membrane", "membrane", "-", None], task="multilabel")
    assert words.head.names == ("membrane", "nucleus")
    np.testing.assert_array_equal(words.values, [[1, 1], [1, 0], [0, 0], [NAN, NAN]])


def test_symbols_have_a_character_or_a_number_each():
    found = read(["HHE?", None], lengths=[4, 2], per_symbol=True)
    assert found.head.names == ("E", "H")
    assert [x.tolist() for x in found.values] == [[1, 1, 0, -1], [-1, -1]]
    assert found.known.tolist() == [True, False] and found.counts(np.array([0, 1])) == {"E": 1, "H": 2}
    numbers = read(["0.5,1,?", [1.0, None]], lengths=[3, 2], per_symbol=True, task="regression")
    assert numbers.values[0][:2, 0].tolist() == [0.5, 1] and np.isnan(numbers.values[0][2, 0])
    assert numbers.values[1].shape == (2, 1)


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ([None, NAN], {}, "there are no labels"),
        (["a", "a"], {}, "all labels are 'a'"),
        ([1.5, 1.5, None], {}, "all labels are 1.5; to learn a difference there must be two values"),
        ([[1.5, 2], [1.5, 3]], {}, "all labels are 1.5"),
        (["a", "b"], {"task": "regression"}, "record '1': 'a' is no number"),
        (["a", "b", "c"], {"num_outputs": 2}, "num_outputs is 2"),
        (["a", "b"], {"names": ("a", "c")}, "record '2': class 'b' is none of"),
        ([[1, 2], [0, 1]], {"task": "multilabel"}, "0 or 1 in every column, found 2"),
        ([[1, 0], [0, 1]], {"task": "classification"}, "takes one column"),
        ([1.5, float("inf")], {"task": "regression"}, "not finite"),
        (["HH", "EEE"], {"per_symbol": True, "lengths": [2, 2]}, "record '2': 3 labels for 2 symbols"),
        (["HH", "HH"], {"per_symbol": True, "lengths": [2, 2]}, "all symbols are labelled 'H'"),
    ],
)
def test_labels_that_do_not_fit(labels, options, message):
    with pytest.raises(ValueError, match=message):
        read(labels, **options)


def test_measurements_with_a_few_qualified_ones_do_not_become_classes():
    measured = [f"{n / 7:.3f}" for n in range(30)]
    with pytest.raises(ValueError, match=r"record '31': '>10' is no number, and 30 of 31 labels are; leave such cells"):
        read([*measured, ">10"])
    assert read([*measured, ">10"], task="classification").head.num_outputs == 31
    assert read(["0", "1", "unknown"] * 9).head.names == ("0", "1", "unknown")
    with pytest.raises(ValueError, match="record '2': '0,5' holds a comma; write a point before decimals"):
        read(["1", "0,5", None, "-2,25"])
    assert read(["1", "0,5"], task="classification").head.names == ("0,5", "1")


def test_classes_that_are_hardly_meant_are_told():
    found = read(["yes", "Yes ", " yes", "no", "NA", None])
    assert found.head.names == ("NA", "Yes", "no", "yes") and found.values.tolist() == [3, 1, 3, 2, 0, -1]
    assert found.notes[0] == "classes that differ by upper and lower case only: Yes, yes"
    assert found.notes[1] == "NA: taken for a class; leave cells empty where nothing is known"
    with pytest.raises(ValueError, match=r"all 30 labels are different .* is this the column of the labels"):
        read([f"{n} nM" for n in range(30)])
    assert len(read([f"{n} nM" for n in range(30)], task="classification").head.names) == 30
