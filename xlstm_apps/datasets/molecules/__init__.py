"""Molecules as RDKit sees them: read, standardised, measured, filtered, compared. Only what is called needs RDKit."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "curation": ["Curator"],
        "reading": ["read_sdf", "read_smi", "sdf_records"],
        "standardise": ["MoleculePolicy", "Rejected", "Standardiser"],
    },
)
