"""What the tests of the kernels share."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def run_script() -> Callable[..., str]:
    """Runs a script about Triton kernels, with the modules of this folder at hand, and returns what it printed.

    In a process of its own, with the environment variables given: Triton's own, such as TRITON_INTERPRET, must be set
    before it is imported, and this process may have imported it already.
    """
    pytest.importorskip("triton", reason="needs Triton")
    paths = os.pathsep.join(map(str, (HERE.parents[1], HERE)))

    def run(script: str, **variables: str) -> str:
        environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"} | variables
        done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return run


@pytest.fixture(scope="module")
def kernels(gpu, request: pytest.FixtureRequest) -> ModuleType:
    """The Triton backend of the operation that the test module names as OPERATION."""
    return importlib.import_module(f"xlstm_apps.kernels.{request.module.OPERATION}.triton")


@pytest.fixture(scope="session")
def run_in_the_interpreter(run_script: Callable[..., str]) -> Callable[[str], str]:
    """Runs a script whose kernels go through Triton's interpreter."""
    return lambda script: run_script(script, TRITON_INTERPRET="1")
