"""Other people's xLSTM checkpoints: the only place that knows their key names and quirks."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"load": ["SOURCES", "load_reference"]})
