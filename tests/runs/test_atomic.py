import os
import subprocess
import sys
import threading
from enum import Enum, IntEnum
from pathlib import Path

import pytest

from holdfast.core.errors import InputError
from holdfast.runs import atomic


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_replace_shows_the_old_file_until_the_new_one_is_whole(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with atomic.replace(target) as temporary:
        assert temporary.parent == target.parent
        temporary.write_text("ne")
        assert target.read_text() == "old"
        temporary.write_text("new")
    assert target.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [KeyError("x"), KeyboardInterrupt()])
def test_replace_leaves_nothing_of_a_failed_write(tmp_path, error):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def write_half():
        with atomic.replace(target) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_replace_creates_parents_and_follows_a_link(tmp_path):
    real, link = tmp_path / "deep" / "er" / "real.txt", tmp_path / "link.txt"
    link.symlink_to(real)
    atomic.write_text(link, "text")
    assert link.is_symlink()
    assert real.read_text() == "text"
    assert names(real.parent) == ["real.txt"]


def test_files_get_the_permissions_that_the_user_asks_for(tmp_path):
    former = os.umask(0o027)
    try:
        atomic.write_text(tmp_path / "a", "x")
    finally:
        os.umask(former)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_readers_never_see_half_a_file(tmp_path):
    target, stop = tmp_path / "big", threading.Event()
    atomic.write_bytes(target, b"0" * 300_000)
    seen = set()

    def read():
        while not stop.is_set():
            data = target.read_bytes()
            seen.add((len(data), len(set(data))))

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(20):
        atomic.write_bytes(target, b"%d" % (i % 10) * 300_000)
    stop.set()
    reader.join()
    assert seen == {(300_000, 1)}


def test_a_device_is_written_to_and_stays(monkeypatch):
    def refuse(source, target):  # a superuser's mistake here would cost the machine its device
        raise AssertionError(f"{target} would be replaced")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(InputError, match=r"/dev/full.*No space left.*free space"):
        atomic.write_text("/dev/full", "x" * 100)
    assert Path("/dev/full").is_char_device()
    atomic.write_text("/dev/null", "x")
    assert Path("/dev/null").is_char_device()


def test_a_pipe_receives_the_content(tmp_path):
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    atomic.write_text(pipe, "through")
    reader.join()
    assert got == ["through"]


@pytest.mark.parametrize(
    ("make", "name", "remedy"),
    [
        (lambda p: p.mkdir(), "d", "not a folder"),
        (lambda p: p.parent.write_text(""), "file/child", "parents are folders"),
        (lambda p: None, "n" * 300, "shorter name"),
    ],
)
def test_refusals_name_the_path_and_the_remedy(tmp_path, make, name, remedy):
    path = tmp_path / name
    make(path)
    with pytest.raises(InputError, match=remedy) as caught:
        atomic.write_text(path, "x")
    assert name[-60:] in str(caught.value)
    assert not list(tmp_path.rglob("*.tmp"))


FULL = """
import os, resource, sys
from holdfast.core.errors import InputError
from holdfast.runs import atomic
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
atomic.write_text("small", "fits")
try:
    {write}
except InputError as error:
    assert "big" in str(error) and "File too large" in str(error) and "ulimit" in str(error), error
else:
    raise AssertionError("written")
assert os.listdir() == ["small"], os.listdir()
"""


@pytest.mark.parametrize(
    "write",
    [
        "atomic.write_bytes('big', bytes(5000))",
        """
    from safetensors.numpy import save_file
    import numpy
    with atomic.replace('big') as temporary:
        save_file({'a': numpy.zeros(5000)}, temporary)
    """,
        """
    from holdfast.runs import examples
    import pathlib, random
    examples.write(pathlib.Path('big'), {'a': [random.random() for _ in range(5000)]})
    """,
    ],
    ids=["bytes", "safetensors", "parquet"],
)
def test_a_full_disk_leaves_nothing_half_written(tmp_path, write):
    code = FULL.format(write=write)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_json_keeps_order_and_has_no_nan(tmp_path):
    path = tmp_path / "a.json"
    atomic.write_json(path, {"z": float("nan"), "a": [1.5, float("-inf"), "ü"], "b": True})
    assert path.read_text() == (
        '{\n  "z": null,\n  "a": [\n    1.5,\n    null,\n    "ü"\n  ],\n  "b": true\n}\n'
    )


def test_plain_knows_arrays_enumerations_and_paths():
    import numpy
    import torch

    class Word(Enum):
        HOLDS = "holds"

    class Code(IntEnum):
        BROKEN = 2

        def __str__(self):
            return "broken"

    value = {
        "enum": [Word.HOLDS, Code.BROKEN],
        "numpy": numpy.array([1.0, numpy.nan]),
        "scalar": numpy.float32(0.5),
        "tensor": torch.tensor(3),
        "path": Path("a/b"),
    }
    assert atomic.plain(value) == {
        "enum": ["holds", "broken"],
        "numpy": [1.0, None],
        "scalar": 0.5,
        "tensor": 3,
        "path": "a/b",
    }
    with pytest.raises(TypeError, match="object has no JSON form"):
        atomic.plain({"a": object()})


def test_an_unwritable_value_leaves_the_file(tmp_path):
    path = tmp_path / "a.json"
    atomic.write_json(path, 1)
    with pytest.raises(TypeError):
        atomic.write_json(path, object())
    assert path.read_text() == "1\n"


@pytest.mark.parametrize("content", [b'{"a": 1', b"", b"\xff\xfe"])
def test_damaged_json_names_the_file(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json.*not valid JSON"):
        atomic.read_json(tmp_path / "a.json")


def test_absent_json_and_json_of_another_kind_name_the_file(tmp_path):
    with pytest.raises(InputError, match=r"a\.json.*cannot be read"):
        atomic.read_json(tmp_path / "a.json")
    atomic.write_json(tmp_path / "a.json", [1])
    with pytest.raises(InputError, match=r"a\.json.*table"):
        atomic.read_table(tmp_path / "a.json")


def test_sweep_removes_leftovers_only(tmp_path):
    (tmp_path / "in").mkdir()
    for name in (".a.1-ff.tmp", "in/.b.2-ee.tmp", "keep.tmp", ".keep"):
        (tmp_path / name).write_text("")
    assert atomic.sweep(tmp_path) == 2
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == [".keep", "keep.tmp"]
