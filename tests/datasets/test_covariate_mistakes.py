"""Columns named wrongly or filled wrongly: one line with the place and the mend."""

import pytest

HEAD = "id,date,y,price,region,note\n"
ROWS = HEAD + "".join(
    f"{s},2024-01-{d:02d},{d}.5,{d},{'north' if s == 'a' else 'south'},n{s}{d}\n" for s in "ab" for d in range(1, 21)
)


@pytest.mark.parametrize(
    "options, parts",
    [
        ({"known_covariates": ["prise"]}, ["sales.csv", "known_covariates", "no such column", "did you mean 'price'"]),
        ({"static_covariates": ["Region"]}, ["static_covariates", "did you mean 'region'"]),
        ({"holidays_column": "holiday"}, ["--data.holidays_column holiday", "no such column"]),
        (
            {"past_covariates": ["price"], "known_covariates": ["price"]},
            ["'price'", "past_covariates and in known_cov"],
        ),
        ({"target_columns": ["y"], "past_covariates": ["y"]}, ["'y'", "in target_columns and in past_covariates"]),
        ({"known_covariates": ["price", "price"]}, ["'price'", "twice in known_covariates"]),
        ({"holidays_column": "price", "known_covariates": ["price"]}, ["known_covariates and in holidays_column"]),
        ({"known_covariates": ["date"]}, ["column 'date'", "stamps are read from it", "calendar"]),
        ({"static_covariates": ["id"]}, ["column 'id'", "names the series"]),
        ({"static_covariates": ["price"]}, ["line 3, column 'price'", "'2'", "series 'a' has '1' in line 2", "known"]),
        ({"static_covariates": ["note"]}, ["line 3, column 'note'", "'na2'", "'na1'", "one value per series"]),
        ({"known_covariates": ["note"]}, ["column 'note'", "40 different values in 40 rows", "leave the column out"]),
        ({"categorical_covariates": ["price"]}, ["'price'", "no covariate", "known_covariates"]),
        ({"future_path": "ahead.csv"}, ["none are named"]),
        ({"split_rows": [10, 5]}, ["[train, val, test]"]),
        ({"split_rows": [10, 5, 5], "val_fraction": 0.3}, ["takes the place of val_fraction"]),
        ({"split_rows": [10, 5, 6]}, ["asks for 21 rows", "the longest series has 20"]),
        ({"memory_rows": 0}, ["memory_rows"]),
    ],
)
def test_roles(refuses, options, parts):
    refuses(ROWS, *parts, **({"id_column": "id"} | options))


@pytest.mark.parametrize(
    "old, new, options, parts",
    [
        ("a,2024-01-03,3.5,3,", "a,2024-01-03,3.5,?x,", {"known_covariates": ["price"]}, ["line 4, column 'price'"]),
        ("a,2024-01-03,3.5,3,", "a,2024-01-03,3.5,1e99,", {"past_covariates": ["price"]}, ["line 4", "too large"]),
        ("b,2024-01-02,2.5,2,south", "b,2024-01-02,2.5,2,east", {"static_covariates": ["region"]},
         ["line 23, column 'region'", "'east'", "'south' in line 22"]),
    ],
)  # fmt: skip
def test_cells(refuses, old, new, options, parts):
    assert old in ROWS
    refuses(ROWS.replace(old, new), *parts, id_column="id", **options)


def test_columns_without_anything(refuses):
    table = "date,y,rain,day\n" + "".join(f"2024-01-{d:02d},{d},,2024-02-01\n" for d in range(1, 25))
    refuses(table, "column 'rain'", "the covariate is empty", known_covariates=["rain"])
    refuses("x,y\n" + "1,2\n3,4\n" * 6, "layout rows", layout="rows", known_covariates=["y"])
    refuses(table, "static covariate tells series apart", static_covariates=["day"])


def test_a_name_of_several_columns_may_be_static_in_part(load):
    rows = "shop,item,date,y\n" + "".join(
        f"{s},{i},2024-01-{d:02d},{d}\n" for s in "AB" for i in "xy" for d in (1, 2, 3)
    )
    table = load(rows, id_column="shop+item", static_covariates=["shop"])
    assert table.item_ids == ["A/x", "A/y", "B/x", "B/y"]
    assert table.covariates.static.values[:, 0].tolist() == [0, 0, 1, 1] and table.covariates.static.levels == {
        "shop": ["A", "B"]
    }


def test_covariates_are_neither_targets_nor_left_out(load):
    table = load(ROWS, id_column="id", known_covariates=["price"], static_covariates=["region"])
    assert table.channels == ["y"] and table.report["left_out"] == {"note": "text"}
    assert table.report["covariates"]["one_per_series"] == ["region"]
    assert any("'region' has another value for every series" in n for n in table.report["notes"])


def test_split_rows_cut_the_table(load):
    table = load(ROWS, id_column="id", split_rows=[10, 4, 3], known_covariates=["price"])
    assert table.lengths.tolist() == [17, 17] and table.covariates.known_lengths.tolist() == [20, 20]
    assert "6 rows after those of split_rows are not used" in table.report["notes"]
