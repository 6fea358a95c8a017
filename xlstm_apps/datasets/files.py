"""From a path to text: samples by name, compression, encodings, and clear errors for what is no table at all."""

import bz2
import codecs
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

SAMPLES = {
    "nyc-weather": "nyc_weather.csv.gz",
    "ecoli-k12": "ecoli_k12.fasta.gz",
    "ecoli-or-bacillus": "ecoli_or_bacillus.csv.gz",
    "wehi-molecules": "wehi_molecules.smi.gz",
    "ww-domains": "ww_domains.fasta.gz",
}
_SUFFIXES = (".csv", ".tsv", ".txt", ".dat", ".tab", ".parquet", ".pq")
_PACKED: dict[bytes, tuple[str, Callable[[bytes], bytes], Callable[[Path], Any]]] = {
    b"\x1f\x8b": ("gzip", gzip.decompress, gzip.open),
    b"\xfd7zXZ\x00": ("xz", lzma.decompress, lzma.open),
    b"BZh": ("bzip2", bz2.decompress, bz2.open),
}
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What other kinds of file begin with, so that the message can name them.
_MAGIC = {
    b"PAR1": "a Parquet file; give it the ending .parquet",
    b"\xd0\xcf\x11\xe0": "an Excel workbook; save it as CSV",
    b"\x89PNG": "a picture",
    b"%PDF": "a PDF",
    b"\x89HDF": "an HDF5 file; export the table as CSV or Parquet",
    b"ARROW1": "an Arrow file; save it as Parquet",
    b"SQLite": "an SQLite database; export the table as CSV",
}


def resolve(path: str) -> Path:
    """The file behind `path`: a sample by name, or a file that exists and can be opened.

    Raises:
        ValueError: no such sample or file, a directory, or no permission.
    """
    if path.startswith("sample:"):
        name = path.removeprefix("sample:")
        if name not in SAMPLES:
            raise ValueError(f"no sample {name!r}; the samples are: {', '.join(f'sample:{s}' for s in SAMPLES)}")
        return Path(__file__).parent / "samples" / SAMPLES[name]
    file = Path(path).expanduser()
    try:
        if file.is_dir():
            inside = sorted(f.name for f in file.iterdir() if f.name.lower().rstrip(".gzxbip2").endswith(_SUFFIXES))
            seen = f"; it holds {', '.join(inside[:5])}{' ...' if len(inside) > 5 else ''}" if inside else ""
            raise ValueError(f"{path} is a directory; give the table inside it{seen}")
        if not file.exists():
            raise ValueError(f"{path}: no such file (the current folder is {Path.cwd()})")
        with file.open("rb"):
            pass
    except PermissionError:
        raise ValueError(f"{path}: no permission to read it; chmod u+r {path}") from None
    except OSError as e:
        raise ValueError(f"{path}: cannot be opened ({e.strerror or e})") from None
    return file


def read_bytes(file: Path) -> tuple[bytes, str]:
    """The unpacked content and the name of the table inside.

    Raises:
        ValueError: the file is empty, truncated or damaged, or an archive without exactly one table.
    """
    data = file.read_bytes()
    if not data:
        raise ValueError(f"{file}: the file is empty; bring a table with a header line and rows")
    if data[:4] == b"PK\x03\x04":
        return _unzip(file)
    for magic, (kind, unpack, _) in _PACKED.items():
        if data.startswith(magic):
            try:
                data = unpack(data)
            except (EOFError, OSError, lzma.LZMAError, zlib.error, ValueError) as e:
                raise ValueError(f"{file}: the {kind} archive is truncated or damaged ({e}); fetch it again") from None
            if not data:
                raise ValueError(f"{file}: the archived file is empty")
    return data, file.name


def open_stream(file: Path) -> IO[bytes]:
    """The unpacked content as a stream, for files larger than memory."""
    with file.open("rb") as f:
        begins = f.read(6)
    if begins.startswith(b"PK\x03\x04"):
        archive = zipfile.ZipFile(file)
        return archive.open(_table_inside(archive, file))
    for magic, (_, _, opener) in _PACKED.items():
        if begins.startswith(magic):
            return opener(file)
    return file.open("rb")


def decode(data: bytes, file: Path, encoding: str | None) -> tuple[str, str]:
    """The text and the encoding it was read in.

    Raises:
        ValueError: not text, or not text in the encoding asked for.
    """
    begins = data[:200].lstrip().lower()
    if begins.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise ValueError(f"{file}: this is a web page or XML, not a table; fetch the file itself")
    if begins.startswith((b"{", b"[")):
        raise ValueError(f"{file}: this is JSON; save it as CSV or Parquet")
    for magic, kind in _MAGIC.items():
        if data.startswith(magic):
            raise ValueError(f"{file}: this is {kind}")
    if encoding is None:
        encoding = next((name for bom, name in _BOMS if data.startswith(bom)), None)
    if encoding is None:
        if 0 in data[:100_000]:
            encoding = _unmarked_utf16(data)
            if encoding is None:
                raise ValueError(f"{file}: a binary file, not a text table; bring CSV or Parquet")
        else:
            try:
                return data.decode("utf-8"), "utf-8"
            except UnicodeDecodeError:
                encoding = "cp1252"  # what Windows programs write where they do not write UTF-8
                control = sum(b < 32 and b not in b"\t\n\r\x1a" for b in data[:100_000])
                if control > 0.02 * min(len(data), 100_000):
                    raise ValueError(f"{file}: a binary file, not a text table; bring CSV or Parquet") from None
    try:
        return data.decode(encoding), encoding.removesuffix("-sig")
    except LookupError:
        raise ValueError(f"data.encoding {encoding!r} is not known; utf-8, utf-16, cp1252 and latin-1 are") from None
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise ValueError(
            f"{file} line {line}: byte 0x{data[e.start]:02x} is no {encoding} text; name the encoding with "
            "data.encoding (latin-1 reads any byte)"
        ) from None


def _unmarked_utf16(data: bytes) -> str | None:
    """UTF-16 without a mark: every other byte of Western text is zero, and the rest is printable."""
    head = data[: 10_000 // 2 * 2]
    for name, zeros, letters in (("utf-16-le", head[1::2], head[::2]), ("utf-16-be", head[::2], head[1::2])):
        printable = sum(32 <= b < 127 or b in b"\t\n\r" for b in letters)
        if zeros.count(0) > 0.9 * len(zeros) and printable > 0.9 * len(letters):
            return name
    return None


def _unzip(file: Path) -> tuple[bytes, str]:
    try:
        with zipfile.ZipFile(file) as archive:
            name = _table_inside(archive, file)
            data = archive.read(name)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as e:
        raise ValueError(f"{file}: the zip archive is truncated, damaged or encrypted ({e}); fetch it again") from None
    if not data:
        raise ValueError(f"{file}: {name} inside the archive is empty")
    return data, name


def _table_inside(archive: zipfile.ZipFile, file: Path) -> str:
    names = [n.filename for n in archive.infolist() if not n.is_dir() and "__MACOSX" not in n.filename]
    if any(n.startswith("xl/") for n in names):
        raise ValueError(f"{file}: this is an Excel workbook; save it as CSV")
    tables = [n for n in names if n.lower().endswith(_SUFFIXES)]
    if not tables and names == [file.name]:  # as pandas names it when told of the archive alone
        return file.name
    if len(tables) != 1:
        raise ValueError(
            f"{file}: the archive holds {len(tables)} tables ({', '.join((tables or names)[:5])}); unpack it "
            "and give one of them"
        )
    return tables[0]
