"""Small vision models with every parameter off its initial value, so that nothing trivial hides a mistake."""

import torch

from xlstm_apps.vision import create_model


def small_model(name="vil_tiny", **options):
    size = options.setdefault("img_size", 16)
    dims = 2 if isinstance(size, int) else len(size)
    defaults = {"embedding_dim": 16, "num_blocks": 4, "num_heads": 2, "patch_size": (4,) * dims, "num_classes": 5}
    model = create_model(name, **{**defaults, **options}).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model
