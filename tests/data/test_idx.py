import gzip
import struct

import numpy as np
import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.data.idx import find_idx, load_idx, read_idx

from .conftest import idx_bytes

IMAGES = np.arange(5 * 7 * 6, dtype=np.uint8).reshape(5, 7, 6)
LABELS = np.array([3, 0, 1, 2, 3], dtype=np.uint8)


def store(folder, prefix="t10k", images=IMAGES, labels=LABELS):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images)))
    (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    return folder


@pytest.mark.parametrize("end", ["", ".gz"])
def test_round_trip(tmp_path, end):
    path = tmp_path / f"x-idx3-ubyte{end}"
    path.write_bytes(gzip.compress(idx_bytes(IMAGES)) if end else idx_bytes(IMAGES))
    assert np.array_equal(read_idx(path).numpy(), IMAGES)


@pytest.mark.parametrize(
    ("code", "kind"), [(9, "i1"), (0x0B, "i2"), (0x0C, "i4"), (0x0D, "f4"), (0x0E, "f8")]
)
def test_all_types_are_big_endian(tmp_path, code, kind):
    values = np.array([[1, -2, 3], [100, 5, -6]], dtype=kind)
    content = (
        bytes([0, 0, code, 2]) + struct.pack(">2I", 2, 3) + values.astype(f">{kind}").tobytes()
    )
    (tmp_path / "a").write_bytes(content)
    read = read_idx(tmp_path / "a")
    assert np.array_equal(read.numpy(), values)
    assert read.numpy().dtype == values.dtype


WHOLE = idx_bytes(IMAGES)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "does not begin as IDX does"),
        (b"\x00\x00", "does not begin as IDX does"),
        (b"\x89PNG" + WHOLE[4:], "does not begin as IDX does"),
        (b"\x00\x00\x07\x03" + WHOLE[4:], "does not begin as IDX does"),
        (WHOLE[:9], "ends within its header"),
        (WHOLE[:-1], "is shorter than its header says"),
        (WHOLE[:16], "is shorter than its header says"),
        (WHOLE + b"\x00", "is too long"),
        (b"\x00\x00\x08\x03" + struct.pack(">3I", *(2**32 - 1,) * 3), "is shorter than"),
    ],
)
@pytest.mark.parametrize("end", ["", ".gz"])
def test_broken_files_are_refused(tmp_path, content, said, end):
    path = tmp_path / f"x{end}"
    path.write_bytes(gzip.compress(content) if end else content)
    with pytest.raises(InputError, match=said):
        read_idx(path)


@pytest.mark.parametrize("cut", [3, 10, 60, -8, -1])
def test_truncated_gzip_is_refused(tmp_path, cut):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(np.random.default_rng(0).bytes(0) + WHOLE)[:cut])
    with pytest.raises(InputError, match="fetch the file again"):
        read_idx(path)


def test_a_gz_file_that_is_not_gzip_and_a_missing_file_are_refused(tmp_path):
    (tmp_path / "x.gz").write_bytes(WHOLE)
    with pytest.raises(InputError, match="cannot be read"):
        read_idx(tmp_path / "x.gz")
    with pytest.raises(InputError, match="is not there"):
        read_idx(tmp_path / "y.gz")


def test_load(tmp_path):
    arrays = load_idx(*find_idx(store(tmp_path), "test"), "test")
    assert np.array_equal(arrays.images.numpy(), IMAGES[:, None])
    assert arrays.labels.tolist() == LABELS.tolist()
    assert arrays.labels.dtype == torch.int64
    assert find_idx(tmp_path, "train") is None
    assert find_idx(tmp_path, "val") is None


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    store(tmp_path, labels=LABELS[:4])
    with pytest.raises(InputError, match="has 4 labels for 5 images"):
        load_idx(*find_idx(tmp_path, "test"), "test")
    images, labels = find_idx(tmp_path, "test")
    with pytest.raises(InputError, match="holds no grey images"):
        load_idx(labels, labels, "test")
    with pytest.raises(InputError, match="holds no labels"):
        load_idx(images, images, "test")
    labels.unlink()
    with pytest.raises(InputError, match="has no file of labels beside it"):
        find_idx(tmp_path, "test")
