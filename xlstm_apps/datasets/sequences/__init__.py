"""Sequences: files in, cleaned by policy and counted, kept as a mapped corpus, cut into windows, batched and split."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "alignment": ["Alignment", "read_alignment"],
        "batches": ["SequenceDataset"],
        "cleaning": ["clean_records"],
        "config": ["LabelledSource", "SequenceData", "SequencePolicy", "SequenceSource"],
        "corpus": ["Corpus"],
        "dividing": ["parse_region", "split_corpus"],
        "families": ["Families", "FamilyWindows", "HeldOutMembers", "homologs_of"],
        "genbank": ["read_features"],
        "homologs": ["homolog_weights", "sample_homologs"],
        "identity": ["identity_clusters"],
        "loading": ["load_corpus", "open_corpus", "read_source"],
        "minhash": ["Leakage", "leakage"],
        "quality": ["QualityReport"],
        "reading": ["read_records"],
        "record": ["Record"],
        "regions": ["Region", "place_regions", "read_regions"],
        "spans": ["Spans", "windows", "without_gaps"],
        "splits": [
            "Split",
            "read_clusters",
            "split_at_random",
            "split_by_contig",
            "split_by_group",
            "split_by_parts",
            "split_by_region",
            "split_by_stretch",
        ],
        "tabular": ["TableColumns"],
        "variants": ["Variant", "check_variant", "read_variants"],
    },
)
