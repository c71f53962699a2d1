"""Data: named sets, local files, the user's own tensors; splits, augmentation, loaders.

Everything becomes an `ImageData`: inputs, labels and a stable index per example that survives
subsetting, shuffling and sharding. `load_data` takes a name or a path, `as_data` whatever a user
has at hand. `DATASETS` and `AUGMENTATIONS` list what can be named. Inputs stay in [0, 1]:
normalisation belongs in the model.
"""

from holdfast.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "AUGMENTATIONS": ".catalogue",
        "Augment": ".augment",
        "Cutout": ".augment",
        "DATASETS": ".catalogue",
        "Flip": ".augment",
        "ImageData": ".images",
        "KnownSet": ".sets",
        "PadCrop": ".augment",
        "Prefetch": ".loader",
        "ResizeCrop": ".decode",
        "StreamedData": ".streaming",
        "StreamedFolder": ".folder",
        "as_data": ".adapt",
        "check_inputs": ".checks",
        "check_labels": ".checks",
        "check_limit": ".checks",
        "data_folder": ".find",
        "epoch_order": ".splits",
        "load_data": ".load",
        "read_idx": ".idx",
        "split": ".splits",
        "stratified": ".splits",
        "stream_folder": ".streaming",
        "train_validation": ".splits",
    },
)
