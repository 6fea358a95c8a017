"""xLSTM models for time series, sequences and images: one recurrent core, task heads, recipes."""

import os

import lazy_loader

__version__ = "0.1.0"

# OpenMP reads this when torch loads: threads that wait give up their core, after some 50 microseconds. Spinning for
# longer, as is the default, makes a training step on a busy machine ten times slower; not at all, one with many small
# operations three times, since the threads must be woken for each. Whoever set the policy before is obeyed.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", "20000")}

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "estimators": ["SequenceClassifier", "SequenceRegressor", "ViLClassifier", "XLSTMForecaster"],
        "biosequence": ["SequenceModel"],
        "core": ["xLSTMBackbone", "xLSTMConfig", "xLSTMLanguageModel"],
    },
)
