"""The embedded data set: scikit-learn's digits, 1,797 real 8x8 images, no file and no download.

The source has no official split. Ours is fixed: `split(1797, seed=0, counts=(1297, 500))`, the
first part for training. Scikit-learn is imported when the data are asked for.
Source: Alpaydin and Kaynak 1998, Optical recognition of handwritten digits, UCI; the 1,797 images
    are its test set, pooled from 43 writers to 8x8 counts from 0 to 16.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from holdfast.core.errors import unknown_name
from holdfast.data.images import ImageData
from holdfast.data.splits import split as split_rows
from holdfast.data.splits import whole

_TRAIN, _TEST = 1297, 500


@dataclass(frozen=True)
class Digits:
    """The loader of `digits`; splits `train`, `test` and `all`."""

    splits: tuple[str, ...] = ("train", "test", "all")

    def load(
        self, split: str = "test", *, data_dir: Path | str | None = None, limit: int | None = None
    ) -> ImageData:
        """A split, in ascending order of the index, which is the row in scikit-learn's order.

        Args:
            data_dir: not needed, as the data are embedded.

        Raises:
            InputError: an unknown split, too large a limit.
        """
        del data_dir
        if split not in self.splits:
            raise unknown_name("split", split, self.splits)
        from sklearn.datasets import load_digits

        source = load_digits()
        data = ImageData(
            images=torch.from_numpy(source.images.astype("uint8"))[:, None],
            labels=torch.from_numpy(source.target.astype("int64")),
            index=whole(_TRAIN + _TEST),
            classes=10,
            names=tuple(str(digit) for digit in range(10)),
            name="digits",
            split=split,
            scale=16,
        )
        if split != "all":
            train, test = split_rows(_TRAIN + _TEST, seed=0, counts=(_TRAIN, _TEST))
            data = data.select(train if split == "train" else test)
        return data.first(limit)


DIGITS = Digits()
