import numpy as np
import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.data.npz import load_npz, to_inputs

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (5, 3, 7, 6), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 3, 4])


def test_bytes_and_floats_come_back_exactly(tmp_path):
    for keys in (("x", "y"), ("images", "labels")):
        np.savez(tmp_path / "a.npz", **dict(zip(keys, (BYTES, LABELS), strict=True)))
        arrays = load_npz(tmp_path / "a.npz", "test")
        assert np.array_equal(arrays.images.numpy(), BYTES)
        assert (arrays.split, arrays.labels.tolist()) == ("all", [0, 1, 2, 3, 4])
    floats = RNG.random((5, 11))
    np.savez_compressed(tmp_path / "a.npz", x=floats, y=LABELS)
    assert np.array_equal(load_npz(tmp_path / "a.npz", "test").images, floats.astype(np.float32))


def test_splits(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=BYTES, y_train=LABELS, x_test=BYTES[:2], y_test=LABELS[:2])
    train, test = (load_npz(tmp_path / "a.npz", split) for split in ("train", "test"))
    assert (len(train.images), train.split, len(test.images), test.split) == (5, "train", 2, "test")
    with pytest.raises(InputError, match="give x and y, or x_val and y_val"):
        load_npz(tmp_path / "a.npz", "val")


def test_layouts():
    assert np.array_equal(to_inputs(BYTES.transpose(0, 2, 3, 1)), BYTES)
    assert to_inputs(BYTES[:, 0]).shape == (5, 1, 7, 6)
    assert to_inputs(torch.zeros(5, 7, 6, 3)).shape == (5, 7, 6, 3)
    assert to_inputs(BYTES.astype(">f4") / 255).dtype == torch.float32
    assert np.array_equal(to_inputs(BYTES[::-1, :, ::2]), BYTES[::-1, :, ::2])


def test_arrays_are_copied():
    mine = BYTES.copy()
    mine.flags.writeable = False
    images = to_inputs(mine)
    images[0] = 0
    assert mine[0].any()


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (BYTES.astype(np.float32), LABELS, "x=values from 0 to 2.*lie outside"),
        (np.full((5, 3), np.nan), LABELS, "holds NaN"),
        (BYTES, LABELS[:4], "y=torch.int64.*does not fit 5 inputs"),
        (BYTES, LABELS - 1, "is negative"),
        (BYTES, LABELS * 0.5, "is not whole numbers"),
        (BYTES[:, 0, 0], LABELS, "are no images"),
        (BYTES[:0], LABELS[:0], "are no images"),
        (BYTES.astype(str), LABELS, "is not numbers"),
        (BYTES.astype(np.int64), LABELS, "is not float"),
    ],
)
def test_bad_arrays_are_refused(tmp_path, x, y, said):
    np.savez(tmp_path / "a.npz", x=x, y=y)
    with pytest.raises(InputError, match=said):
        load_npz(tmp_path / "a.npz", "test")


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_a_pickle_is_never_opened(tmp_path):
    mark = tmp_path / "executed"
    objects = np.array([Trap(str(mark)), None], dtype=object)
    np.savez(tmp_path / "a.npz", x=objects, y=LABELS[:2])
    np.save(tmp_path / "b.npy", objects, allow_pickle=True)
    (tmp_path / "b.npy").rename(tmp_path / "b.npz")
    (tmp_path / "c.npz").write_bytes(b"\x80\x04N.")
    for name in ("a.npz", "b.npz", "c.npz"):
        with pytest.raises(InputError, match="holds pickled objects"):
            load_npz(tmp_path / name, "test")
    assert not mark.exists()


def test_bad_files_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=BYTES, y=LABELS)
    content = path.read_bytes()
    middle = bytearray(content)
    middle[300] ^= 255
    for broken in (b"", content[:-9], content[:100], content[:-200], bytes(middle)):
        path.write_bytes(broken)
        with pytest.raises(InputError):
            load_npz(path, "test")
    np.save(tmp_path / "b.npy", BYTES)
    (tmp_path / "b.npy").rename(path)
    with pytest.raises(InputError, match="is no archive"):
        load_npz(path, "test")
    np.savez(path, a=BYTES)
    with pytest.raises(InputError, match="has the arrays a"):
        load_npz(path, "test")
    with pytest.raises(InputError, match="is not there"):
        load_npz(tmp_path / "c.npz", "test")
