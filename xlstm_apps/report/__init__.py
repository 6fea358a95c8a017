"""What a run leaves for people to read: `report.html` and the model card, made from the files of its folder."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "page": ["write_report"],
        "card": ["model_card"],
        "explanation": ["write_explanation"],
        "sequence_designs": ["write_designs"],
        "molecules": ["Candidates", "Similar", "write_candidates", "write_evaluation", "write_funnel"],
        "residuals": ["ResidualSample"],
    },
)
