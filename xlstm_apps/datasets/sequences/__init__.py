"""Sequences: files in, cleaned by policy and counted, kept as a mapped corpus, cut into windows, batched and split."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "batches": ["SequenceDataset"],
        "cleaning": ["clean_records"],
        "config": ["SequencePolicy"],
        "corpus": ["Corpus"],
        "genbank": ["read_features"],
        "quality": ["QualityReport"],
        "reading": ["read_records"],
        "record": ["Record"],
        "regions": ["Region", "place_regions", "read_regions"],
        "spans": ["Spans", "windows", "without_gaps"],
        "tabular": ["TableColumns"],
    },
)
