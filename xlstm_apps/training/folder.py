"""The folder a run leaves: where its files lie, how it is created whole, and when a run may be continued."""

import json
import platform
import shlex
import sys
from dataclasses import asdict, is_dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from xlstm_apps.training import files


class RunFolder:
    """One run on disk.

    `config.yaml` (the sections), `run.json` (facts and status), `metrics.csv`, `checkpoints/{last,best}.ckpt`, `model/`
    and whatever the task adds. Every file in it is written aside and renamed, so a reader never sees half of one.

    Args:
        path: An existing run folder.

    Raises:
        ValueError: `path` holds no run.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not (self.path / "run.json").is_file():
            raise ValueError(f"{self.path} is no run folder (it has no run.json); give the folder that train reported")

    @classmethod
    def create(cls, path: Path, task: str, config: dict[str, Any], **facts: Any) -> "RunFolder":
        """Create the folder with `config.yaml` and `run.json` in one rename.

        Args:
            path: Folder to create; absent or empty.
            task: Name of the task, such as `forecast`.
            config: Sections by name: dataclasses, dicts or plain values.
            facts: More entries for `run.json`.

        Raises:
            ValueError: The folder holds something already.
        """
        _refuse_used(path)
        with files.replacing_folder(path) as aside:
            files.write_text(aside / "config.yaml", dump_config(config))
            files.write_json(
                aside / "run.json",
                {
                    "task": task,
                    "status": "running",
                    "started": datetime.now().astimezone().isoformat(timespec="seconds"),
                    **facts,
                    "command": command_line(),
                    "versions": versions(),
                },
            )
        return cls(path)

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def config(self) -> dict[str, Any]:
        """The sections as plain dicts."""
        return yaml.safe_load((self.path / "config.yaml").read_text(encoding="utf-8"))

    @property
    def facts(self) -> dict[str, Any]:
        """Content of `run.json`."""
        return json.loads((self.path / "run.json").read_text(encoding="utf-8"))

    @property
    def finished(self) -> bool:
        return self.facts["status"] == "finished"

    def note(self, **facts: Any) -> None:
        """Add or replace entries of `run.json`."""
        files.write_json(self.path / "run.json", {**self.facts, **facts})

    def add_seconds(self, **seconds: float) -> None:
        """Note how long a stage took."""
        before = self.facts.get("seconds", {})
        self.note(seconds={**before, **{name: round(value, 2) for name, value in seconds.items()}})

    def check_same(self, config: dict[str, Any], **facts: Any) -> None:
        """Refuse to continue under other settings or on other data, since the result would be neither run's.

        Raises:
            ValueError: Names every setting that differs, with both values.
        """
        before, now = _flat(self.config), _flat(yaml.safe_load(dump_config(config)))
        changed = [
            f"{key} (was {before.get(key, 'unset')!r}, is {now.get(key, 'unset')!r})"
            for key in sorted({*before, *now})
            if before.get(key) != now.get(key)
        ]
        if changed:
            raise ValueError(
                f"cannot resume {self.path}: these settings changed: {', '.join(changed)}. "
                "Resume with the settings of the run, or start a new run without --resume"
            )
        known = self.facts
        for key, value in facts.items():
            if known.get(key) != value:
                raise ValueError(f"cannot resume {self.path}: its {key} changed since it started; start a new run")


def new_path(run_dir: str | Path | None, task: str, stem: str) -> Path:
    """Folder for a new run: the one asked for, or `runs/<task>-<stem>-<time>`.

    Raises:
        ValueError: The folder is in use.
    """
    if run_dir is not None:
        _refuse_used(Path(run_dir))
        return Path(run_dir)
    name = f"{task}-{stem}-{datetime.now():%Y%m%d-%H%M%S}"
    path, count = Path("runs") / name, 1
    while path.exists():
        count += 1
        path = Path("runs") / f"{name}-{count}"
    return path


def find_run(run_dir: str | Path | None, task: str, stem: str) -> RunFolder | None:
    """The run to resume: the folder named (None where it does not exist yet), or the newest of this task and data.

    Raises:
        ValueError: No folder was named and there is none to find, or the one named holds no run.
    """
    if run_dir is not None:
        path = Path(run_dir)
        return RunFolder(path) if path.exists() and any(path.iterdir()) else None
    found = [path.parent for path in Path("runs").glob(f"{task}-{stem}-*/run.json")]
    if not found:
        raise ValueError(f"nothing to resume: no run in runs/{task}-{stem}-*; leave --resume out to start one")
    return RunFolder(max(found, key=lambda path: (RunFolder(path).facts["started"], path.name)))


def dump_config(config: dict[str, Any]) -> str:
    """The sections as YAML that `--config` reads back."""
    plain = {key: asdict(value) if is_dataclass(value) else value for key, value in config.items()}
    return yaml.safe_dump(json.loads(json.dumps(plain, default=str)), sort_keys=False, allow_unicode=True)


def command_line() -> str:
    """How this program was called, as a shell reads it."""
    program = Path(sys.argv[0])
    name = f"python -m {program.parent.name}" if program.name == "__main__.py" else shlex.quote(program.name)
    return " ".join([name, *map(shlex.quote, sys.argv[1:])])


def versions() -> dict[str, str]:
    """Versions that a result depends on."""
    names = ("xlstm-apps", "torch", "lightning", "numpy", "polars")
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _refuse_used(path: Path) -> None:
    if path.is_dir() and not any(path.iterdir()):
        return
    if (path / "run.json").is_file():
        raise ValueError(f"{path} already holds a run; continue it with --resume, or give another --run_dir")
    if path.exists():
        raise ValueError(f"{path} exists and is not empty; give another --run_dir")


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict) and value:
        return {k: v for key, item in value.items() for k, v in _flat(item, f"{prefix}{key}.").items()}
    return {prefix[:-1]: value}
