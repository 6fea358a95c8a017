"""What holds for the package as a whole."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

import xlstm_apps


def modules() -> list[str]:
    names = [info.name for info in pkgutil.walk_packages(xlstm_apps.__path__, "xlstm_apps.")]
    return [name for name in names if not name.endswith("__main__")]


@pytest.mark.parametrize("name", modules())
def test_every_module_imports_and_says_what_it_is(name):
    module = importlib.import_module(name)
    assert (module.__doc__ or "").strip(), f"{name} has no docstring"


def test_config_modules_load_no_torch():
    configs = [name for name in modules() if name.rpartition(".")[2] == "config"]
    program = (
        f"import sys, importlib\nfor n in {configs!r}: importlib.import_module(n)\nassert 'torch' not in sys.modules"
    )
    assert len(configs) >= 3
    subprocess.run([sys.executable, "-c", "import xlstm_apps\n" + program], check=True)


def test_public_names_resolve():
    for name in xlstm_apps.__all__:
        assert getattr(xlstm_apps, name) is not None
