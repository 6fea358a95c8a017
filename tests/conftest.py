"""Fixtures every test may use: reproducible randomness, and the reference data that lives beside the repository."""

import itertools
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_configure(config: pytest.Config) -> None:
    # One thread per worker: the suite runs in parallel processes, and results must not depend on their number.
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _hears_ctrl_c() -> Iterator[None]:
    """What a shell starts in the background ignores Ctrl-C, and so do its children; tests send it to both."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


class PowerCut(BaseException):
    """As hard as a kill: nothing catches it, so nothing is saved on the way out."""


@pytest.fixture
def power_cut(monkeypatch):
    """Training that ends as if killed: `with power_cut(Module, step=4): train(...)`, steps counted from 1."""

    @contextmanager
    def cut(module: type, step: int) -> Iterator[None]:
        work, calls = module.training_step, itertools.count(1)

        def training_step(self, *batch):
            if next(calls) == step:
                raise PowerCut
            return work(self, *batch)

        with monkeypatch.context() as patch, pytest.raises(PowerCut):
            patch.setattr(module, "training_step", training_step)
            yield

    return cut


@pytest.fixture(scope="session")
def gpu() -> torch.device:
    """The CUDA device; skips where there is none."""
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return torch.device("cuda")


@pytest.fixture(scope="session")
def golden_path():
    """Path of a golden file or folder by name; skips where the reference files are not present."""

    def path(name: str) -> Path:
        for candidate in (SHARED / "golden" / name, SHARED / "golden" / f"{name}.safetensors"):
            if candidate.exists():
                return candidate
        pytest.skip(f"golden reference {name} not found: it lives in {SHARED / 'golden'}, outside the repository")

    return path


@pytest.fixture(scope="session")
def golden(golden_path):
    """Tensors and metadata of one golden file: `tensors, meta = golden("xlstm_lm")`."""

    def load(name: str):
        from safetensors import safe_open

        with safe_open(golden_path(name), framework="pt") as f:
            metadata = f.metadata() or {}
            return {key: f.get_tensor(key) for key in f.keys()}, json.loads(metadata.get("meta", "{}"))  # noqa: SIM118

    return load


@pytest.fixture(scope="session")
def shared_data():
    """Path of a real data file by its name under `data/`; skips where it is not present."""

    def path(name: str) -> Path:
        file = SHARED / "data" / name
        if not file.exists():
            pytest.skip(f"data file {name} not found: it lives in {SHARED / 'data'}, outside the repository")
        return file

    return path
