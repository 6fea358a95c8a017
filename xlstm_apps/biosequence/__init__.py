"""Language models of DNA, proteins, molecules and text: alphabets, tokenizers, objectives, heads."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "alphabet": ["Alphabet"],
        "alphabets": ["get_alphabet"],
        "config": ["HeadConfig", "SequenceConfig"],
        "family": ["FamilyContext", "read_homologs"],
        "heads": ["SequencePredictor", "language_part"],
        "model": ["SequenceModel"],
        "module": ["PredictorModule", "SequenceModule"],
        "scoring": ["Context"],
        "sizes": ["SIZES", "named_size"],
        "tokenizer": ["Tokenizer", "file_encoder", "get_tokenizer"],
    },
)
