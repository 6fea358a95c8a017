"""Where training ends and the test begins, by time, for every series."""

from collections.abc import Sequence

from .table import SeriesTable


def split_points(
    table: SeriesTable,
    val_fraction: float = 0.1,
    test_fraction: float = 0.2,
    *,
    min_length: int = 0,
    rows: Sequence[int] | None = None,
) -> list[tuple[int, int]]:
    """Borders of the three parts of every series, as row numbers: train is [0, train_end), validation
    [train_end, val_end), the test the rest.

    With fractions 0.1 and 0.2 of n rows these are int(0.7 n) and n - int(0.2 n), the borders of the LTSF protocol.

    Args:
        min_length: the horizon. A non-empty validation or test part is at least this long where the series allows it,
            that is, where training keeps at least `min_length + 1` rows. A short series thus gives up its validation
            part before its test part, and stays out of both when it is shorter than two horizons.
        rows: training, validation and test rows from each series' begin, in place of the fractions; a shorter series
            ends within a part. The table has no rows beyond them: `load_table` leaves them out for `split_rows`.

    Raises:
        ValueError: a fraction is negative or their sum leaves nothing to train on.
    """
    if val_fraction < 0 or test_fraction < 0 or val_fraction + test_fraction >= 1:
        raise ValueError(
            f"val_fraction {val_fraction} and test_fraction {test_fraction} must be non-negative, with a sum below 1"
        )
    if rows is not None:
        train, val, _ = rows
        return [(min(train, n), min(train + val, n)) for n in table.lengths.tolist()]
    points = []
    for n in table.lengths.tolist():
        # Rounded to 9 digits first: 1 - 0.1 - 0.2 is 0.7000000000000001, and 0.1 * 30 is 3.0000000000000004.
        test = int(round(n * test_fraction, 9))
        val = n - test - int(round(n * (1 - val_fraction - test_fraction), 9)) if val_fraction > 0 else 0
        if test_fraction > 0 and test < min_length:
            test = min_length if n >= 2 * min_length + 1 else 0
        if val_fraction > 0 and val < min_length:
            val = min_length if n - test >= 2 * min_length + 1 else 0
        points.append((n - test - val, n - test))
    return points
