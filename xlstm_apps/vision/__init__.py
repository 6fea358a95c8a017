"""Vision-LSTM: images of any size to classes, features and masks; paths through grids, patches, registry of sizes."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "classifier": ["ImageClassifier"],
        "config": ["SCANS", "VisionConfig"],
        "features": ["FeaturePyramid"],
        "groups": ["parameter_groups"],
        "model": ["VisionLSTM"],
        "paths": ["ScanPath"],
        "registry": ["create_model", "list_models"],
        "streaming": ["stream_features", "stream_logits"],
        "unet": ["XLSTMUNet"],
        "unet_config": ["UNetConfig"],
    },
)
