"""xLSTM models for time series, sequences and images: one recurrent core, task heads, recipes."""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "estimators": ["XLSTMForecaster"],
        "core": ["xLSTMBackbone", "xLSTMConfig", "xLSTMLanguageModel"],
    },
)
