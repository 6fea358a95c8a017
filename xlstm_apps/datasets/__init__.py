"""Adapters: a user's file or frame in, batches out. Knows no model."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "config": ["SeriesData"],
        "covariates": ["Columns", "Covariates"],
        "encoding": ["CovariateEncoding"],
        "future": ["with_future"],
        "report": ["report_text"],
        "scaler": ["Scaler"],
        "series": ["load_table", "table_from_frame"],
        "splits": ["split_points"],
        "stream": ["iter_tables"],
        "table": ["Series", "SeriesTable"],
        "windows": ["WindowDataset", "last_windows"],
    },
)
