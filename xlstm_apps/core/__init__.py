"""The xLSTM backbone and language model as plain `nn.Module`s: configuration, layers, state, saving."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "backbone": ["xLSTMBackbone"],
        "config": ["xLSTMConfig"],
        "language_model": ["xLSTMLanguageModel"],
        "pretrained": ["PretrainedMixin"],
        "state": ["xLSTMState"],
    },
)
