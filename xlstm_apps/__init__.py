"""xLSTM models for time series, sequences and images: one recurrent core, task heads, recipes."""

import os

import lazy_loader

__version__ = "0.1.0"

# OpenMP reads this when torch loads: threads that wait then give up their core. Spinning, as is the default, they make
# a training step on a busy machine ten times slower. Whoever set the variable before is obeyed.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "estimators": ["SequenceClassifier", "SequenceRegressor", "ViLClassifier", "XLSTMForecaster"],
        "biosequence": ["SequenceModel"],
        "core": ["xLSTMBackbone", "xLSTMConfig", "xLSTMLanguageModel"],
    },
)
