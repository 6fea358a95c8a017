"""Files without a name: their disk is free again when nobody uses them, even after a kill."""

import tempfile
from pathlib import Path
from typing import IO


def nameless(folder: str | None) -> IO[bytes]:
    """An empty file to write and read, in `folder`, or in the system's temporary folder.

    Raises:
        ValueError: there is no such folder, or no room or permission in it.
    """
    if folder is not None and not Path(folder).expanduser().is_dir():
        raise ValueError(f"data.cache_dir {folder}: no such folder; make it, or name another with room for the series")
    try:
        return tempfile.TemporaryFile(dir=folder and Path(folder).expanduser())
    except OSError as e:
        raise ValueError(
            f"no file can be made in {folder or tempfile.gettempdir()} ({e}); set data.cache_dir"
        ) from None
