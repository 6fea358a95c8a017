"""RDKit is an extra: nothing imports it before molecules are read."""

import subprocess
import sys

MODULES = (
    "xlstm_apps.recipes.molecules",
    "xlstm_apps.recipes._sequence_evaluate",
    "xlstm_apps.recipes._sequence_filter",
    "xlstm_apps.recipes._sequence_like",
    "xlstm_apps.recipes._sequence_molecules",
    "xlstm_apps.estimators.molecule_generator",
    "xlstm_apps.estimators.molecule_sets",
    "xlstm_apps.datasets.molecules.respelling",
    "xlstm_apps.datasets.molecules.drawing",
    "xlstm_apps.datasets.sequences.loading",
    "xlstm_apps.biosequence.smiles_validity",
)


def test_importing_needs_no_rdkit():
    imports = "\n".join(f"import {name}" for name in MODULES)
    code = f"import sys\nsys.modules['rdkit'] = None\n{imports}\n"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_needs_neither_rdkit_nor_torch():
    code = (
        "import sys\nsys.modules['rdkit'] = None\nimport xlstm_apps.recipes.molecules\n"
        "assert 'torch' not in sys.modules and 'polars' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
