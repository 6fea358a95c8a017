"""Networks that vision models are compared with: a residual convolutional network and a Vision Transformer."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"resnet": ["ResNet"], "vit": ["ViT"], "sizes": ["matched"]}
)
