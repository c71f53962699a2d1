import errno
import os
import struct

import pytest
import torch
from torch import nn

from holdfast.core.errors import InputError
from holdfast.models.weights import read_tensors, state_of, weights_hash, write_tensors

TENSORS = {"b": torch.arange(6.0).view(2, 3), "a": torch.tensor(7), "c": torch.ones(5).bfloat16()}


def test_the_hash_depends_on_content_and_on_nothing_else():
    base = weights_hash(TENSORS)
    assert base == weights_hash(dict(reversed(TENSORS.items())))
    assert base == weights_hash(TENSORS | {"b": TENSORS["b"].t().contiguous().t()})
    changed = [
        TENSORS | {"b": TENSORS["b"] + 1e-6},
        TENSORS | {"b": TENSORS["b"].view(3, 2)},
        TENSORS | {"b": TENSORS["b"].double()},
        {"B" if key == "b" else key: value for key, value in TENSORS.items()},
        TENSORS | {"d": torch.empty(0)},
    ]
    assert len({base, *map(weights_hash, changed)}) == 6


def test_the_hash_is_stable_over_time():
    # computed by hand: SHA-256 of b"w\0torch.float32\0(2,)\0" and two little-endian floats
    import hashlib

    content = b"w\0torch.float32\0(2,)\0" + struct.pack("<2f", 1.5, -2.0)
    expected = hashlib.sha256(content).hexdigest()
    assert weights_hash({"w": torch.tensor([1.5, -2.0])}) == expected


def test_the_hash_of_a_network_is_that_of_its_state():
    model = nn.BatchNorm1d(5)
    assert weights_hash(model) == weights_hash(model.state_dict())


def test_a_state_that_is_no_tensor_is_refused():
    class Odd(nn.Linear):
        def get_extra_state(self):
            return {"step": 3}

    with pytest.raises(InputError, match="is no tensor"):
        state_of(Odd(2, 3))


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "deep" / "net.safetensors"
    strided = TENSORS | {"b": torch.arange(6.0).view(3, 2).t()}
    write_tensors(path, strided, {"note": "text"})
    tensors, texts = read_tensors(path)
    assert texts == {"note": "text"}
    assert weights_hash(tensors) == weights_hash(strided)
    assert os.listdir(path.parent) == ["net.safetensors"]


def test_tensors_that_share_memory_are_written_whole(tmp_path):
    whole = torch.arange(6.0)
    write_tensors(tmp_path / "net", {"a": whole, "b": whole, "c": whole[2:]}, {})
    tensors, _ = read_tensors(tmp_path / "net")
    assert tensors["c"].tolist() == [2.0, 3.0, 4.0, 5.0]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failing_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    path = tmp_path / "net.safetensors"
    write_tensors(path, TENSORS, {"note": "old"})

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(InputError) as error:
        write_tensors(path, TENSORS, {"note": "new"})
    assert "cannot be written (No space left on device)" in str(error.value)
    assert str(path) in str(error.value.value)
    assert os.listdir(tmp_path) == ["net.safetensors"]
    assert read_tensors(path)[1] == {"note": "old"}


def test_an_interrupt_while_writing_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_tensors(tmp_path / "net", TENSORS, {})
    assert not os.listdir(tmp_path)


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "net"):
        with pytest.raises(InputError, match="cannot be written"):
            write_tensors(path, TENSORS, {})


def test_no_prefix_of_a_file_is_read(tmp_path):
    path = tmp_path / "net.safetensors"
    write_tensors(path, TENSORS, {"note": "text"})
    content = path.read_bytes()
    for length in (0, 5, 8, 9, 40, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"cut short|no whole safetensors file"):
            read_tensors(path)


@pytest.mark.parametrize("legacy", [False, True])
def test_pickles_are_refused_with_the_remedy(tmp_path, legacy):
    path = tmp_path / "net.safetensors"
    torch.save(TENSORS, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(InputError, match=r"is a pickle.*holdfast models convert"):
        read_tensors(path)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".PT"])
def test_an_unreadable_file_named_as_a_pickle_is_taken_for_one(tmp_path, suffix):
    path = tmp_path / f"net{suffix}"
    path.write_bytes(b"anything else")
    with pytest.raises(InputError, match="is a pickle"):
        read_tensors(path)


def test_a_header_whose_length_starts_like_a_pickle_is_read(tmp_path):
    path = tmp_path / "net.safetensors"
    for length in range(0, 400, 8):
        write_tensors(path, TENSORS, {"note": "x" * length})
        if path.read_bytes()[:1] == b"\x80":
            break
    assert path.read_bytes()[:1] == b"\x80"
    assert read_tensors(path)[1] == {"note": "x" * length}


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_tensors(tmp_path / "absent.safetensors")
    with pytest.raises(InputError, match="cannot be read"):
        read_tensors(tmp_path)
