"""Molecules as RDKit sees them: read, standardised, measured, filtered, compared. Only what is called needs RDKit."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "chemistry": ["molecule"],
        "curation": ["Curator"],
        "filters": ["FilterConfig", "MoleculeFilter"],
        "fingerprints": ["morgan_fingerprints", "nearest", "similarities"],
        "fragments": ["fragment_counts", "scaffold", "scaffold_counts"],
        "metrics": ["Reference", "Value", "compare_sets", "novelty", "read_valid", "uniqueness", "validity"],
        "properties": ["PROPERTIES", "measure"],
        "reading": ["read_sdf", "read_smi", "sdf_records"],
        "standardise": ["MoleculePolicy", "Rejected", "Standardiser"],
    },
)
