"""One way to fit for every task: run folder, trainer, exact resume, seeds, loggers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "config": ["FitConfig"],
        "folder": ["RunFolder"],
        "loader": ["BatchLoader", "seeded"],
        "run": ["FitResult", "check", "fit"],
    },
)
