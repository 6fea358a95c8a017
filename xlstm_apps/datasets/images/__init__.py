"""Images from folders, tables, IDX files and arrays: read, checked, split, batched. Knows no model."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "batches": ["ImageBatches", "OwnSizes", "moments"],
        "collection": ["ImageSet", "load_images", "read_images"],
        "config": ["ImageData", "ImageSource", "LabelledImages"],
        "decoding": ["BadImage", "read_image"],
        "finding": ["Listing", "find_images"],
        "record": ["ImageRecord"],
        "segmentation_config": ["MaskedImages", "SegmentData", "SegmentSource"],
        "segmentation_set": ["Meaning", "SegmentSet", "load_masked"],
        "segmentation_splits": ["split_masked"],
        "splits": ["leaks", "split_images"],
    },
)
