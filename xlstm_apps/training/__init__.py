"""One way to fit a model: run folder, trainer, resume."""
