"""What verbs of vision share: reading images with a bar, names of runs, what was left out."""

from __future__ import annotations

import hashlib
import os
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console

from xlstm_apps.datasets.images import ImageSet, Listing, find_images, read_images
from xlstm_apps.datasets.images.config import ImageSource
from xlstm_apps.recipes._terminal import showing

_SHOWN = 5


def stem(data: ImageSource) -> str:
    """What a run is named after."""
    name = data.path[0].rstrip("/").removeprefix("sample:")
    first = Path(name).name.split(".")[0]
    return first.replace("*", "").replace("?", "") or "images"


def fingerprint(listing: Listing) -> str:
    """Hash of names, sizes and times of all files, and of their classes and parts."""
    found = hashlib.sha256()
    for record in listing.records:
        where = ""
        if record.path is not None and os.path.isfile(record.path):
            status = record.path.stat()
            where = f"{status.st_size} {status.st_mtime_ns}"
        elif record.pixels is not None:
            where = hashlib.sha1(record.pixels.tobytes()).hexdigest()
        found.update(f"{record.id}\0{record.label}\0{record.part}\0{record.group}\0{where}\n".encode())
    return found.hexdigest()


def read(data: ImageSource, listing: Listing, console: Console, **options: Any) -> ImageSet:
    """All images of a listing, with a bar while they are read."""
    with showing(console, "reading", len(listing.records)) as step:
        return read_images(listing, data, tick=step.advance, **options)


def listed(data: ImageSource, console: Console, *, labelled: bool) -> Listing:
    """The images there are."""
    with console.status("looking for images"):
        return find_images(data, labelled=labelled)


def told(images: ImageSet) -> list[str]:
    """What was left out, in lines."""
    bad = {row["path"]: row["reason"] for row in images.rejected}
    return left_out(bad) + [f"note      {note}" for note in images.report["notes"]]


def left_out(bad: dict[str, str]) -> list[str]:
    """How many files were left out, the first of them with the reason."""
    if not bad:
        return []
    lines = [f"left out  {len(bad):,} {'file' if len(bad) == 1 else 'files'}:"]
    lines += [f"          {name} {reason}" for name, reason in islice(bad.items(), _SHOWN)]
    return lines + ["          ..."] * (len(bad) > _SHOWN)
