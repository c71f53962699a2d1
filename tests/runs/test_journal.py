import logging
import subprocess
import sys

import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.runs import Journal


def rows(*index, value=0.5):
    index = torch.tensor(index, dtype=torch.int64)
    return {
        "index": index,
        "margin": index * value,
        "broken": index % 2 == 0,
        "x": torch.ones(len(index), 2, 3) * index.view(-1, 1, 1),
    }


def chunks(folder):
    return sorted(file.name for file in folder.iterdir()) if folder.exists() else []


def assert_rows(got, *index):
    want = rows(*index)
    assert got.keys() == want.keys()
    for name in want:
        assert torch.equal(got[name], want[name]), name
        assert got[name].dtype == want[name].dtype


def test_rows_come_back_by_index_whatever_their_order_and_stage(tmp_path):
    with Journal(tmp_path / "j") as journal:
        journal.append("apgd-ce/0", rows(9, 2))
        journal.append("milp", rows(5))
        journal.append("apgd-ce/0", rows(4))
        journal.append("apgd-ce/0", rows())
    journal = Journal(tmp_path / "j")
    assert_rows(journal.read("apgd-ce/0"), 2, 4, 9)
    assert_rows(journal.read("milp"), 5)
    assert journal.read("milp/0") is None
    assert journal.stages() == ["apgd-ce/0", "milp"]
    assert Journal(tmp_path / "absent").stages() == []


@pytest.mark.parametrize("stage", ["a.b", ".r0", "ü x", "../up", "100%", "s.r1.2.3.safetensors"])
def test_any_text_names_a_stage_and_none_leaves_the_folder(tmp_path, stage):
    with Journal(tmp_path / "j") as journal:
        journal.append(stage, rows(3))
        journal.append("other", rows(1))
    assert sorted(journal.stages()) == sorted([stage, "other"])
    assert_rows(journal.read(stage), 3)
    assert chunks(tmp_path) == ["j"]


def test_rows_are_written_when_there_are_enough(tmp_path):
    journal = Journal(tmp_path, every=3, seconds=1e9)
    journal.append("a", rows(1, 2))
    journal.append("b", rows(1, 2))
    assert chunks(tmp_path) == []
    journal.append("a", rows(3))
    assert len(chunks(tmp_path)) == 1
    assert Journal(tmp_path).stages() == ["a"]
    journal.flush()
    assert Journal(tmp_path).stages() == ["a", "b"]
    journal.flush()
    assert len(chunks(tmp_path)) == 2


def test_rows_are_written_when_they_have_waited(tmp_path, monkeypatch):
    now = 100.0
    monkeypatch.setattr("holdfast.runs.journal.time.monotonic", lambda: now)
    journal = Journal(tmp_path, every=100, seconds=5.0)
    journal.append("a", rows(1))
    now = 104.9
    journal.append("b", rows(1))
    assert chunks(tmp_path) == []
    now = 105.0
    journal.append("b", rows(2))
    assert Journal(tmp_path).stages() == ["a"]


def test_appended_tensors_may_change_afterwards(tmp_path):
    mine = rows(1, 2)
    journal = Journal(tmp_path)
    journal.append("a", mine)
    for tensor in mine.values():
        tensor.zero_()
    assert_rows(journal.read("a"), 1, 2)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupt_loses_nothing(tmp_path, error):
    journal = Journal(tmp_path)

    def work():
        with journal:
            journal.append("a", rows(7))
            raise error

    with pytest.raises(error):
        work()
    assert_rows(Journal(tmp_path).read("a"), 7)


def test_ranks_and_resumed_runs_do_not_collide_and_duplicates_are_dropped(tmp_path, caplog):
    for index in ((4, 1), (1, 6), (6, 2)):
        for rank in (0, 1):
            with Journal(tmp_path, rank=rank) as journal:
                journal.append("a", rows(*index))
    assert len(chunks(tmp_path)) == 6
    assert_rows(journal.read("a"), 1, 2, 4, 6)
    assert not caplog.records


def test_of_duplicates_the_first_written_is_kept_and_a_difference_logged(tmp_path, caplog):
    for value, broken in ((0.5, True), (0.25, True), (2.0, False)):
        with Journal(tmp_path) as journal:
            part = rows(3, 5, value=value)
            part["broken"] = torch.tensor([False, broken])
            journal.append("a", part)
    got = journal.read("a")
    assert got["margin"].tolist() == [1.5, 2.5]
    assert got["broken"].tolist() == [False, True]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "broken differs" in caplog.text
    assert "[5]" in caplog.text


def test_leftovers_are_ignored_and_a_damaged_chunk_is_logged(tmp_path, caplog):
    with Journal(tmp_path, every=1) as journal:
        journal.append("a", rows(1))
        journal.append("a", rows(2))
    first, second = chunks(tmp_path)
    data = (tmp_path / second).read_bytes()
    (tmp_path / f".{second}.12-ab.tmp").write_bytes(data[:50])
    (tmp_path / "note.txt").write_text("")
    assert_rows(journal.read("a"), 1, 2)
    assert not caplog.records
    for size in (0, 7, 60, len(data) - 1):
        caplog.clear()
        (tmp_path / second).write_bytes(data[:size])
        assert_rows(journal.read("a"), 1)
        assert [record.name for record in caplog.records] == ["holdfast"]
        assert second in caplog.text
    (tmp_path / first).unlink()
    assert journal.read("a") is None


@pytest.mark.parametrize(
    ("stage", "part", "words"),
    [
        ("", rows(1), "stage=''"),
        ("s" * 151, rows(1), "too long"),
        ("a", {"margin": torch.ones(2)}, r"rows\['index'\]=None"),
        ("a", {"index": torch.ones(2)}, "float32"),
        ("a", rows(1, 2) | {"margin": torch.ones(3)}, r"margin.*2 rows of index"),
        ("a", rows(1) | {"margin": torch.tensor(1.0)}, "margin.*no rows"),
        ("a", rows(1) | {"margin": [1.0]}, "margin.*no rows"),
        ("a", rows(1) | {"more": torch.ones(1)}, "same columns"),
        ("a", rows(1) | {"margin": torch.ones(1, dtype=torch.float64)}, "same columns"),
    ],
)
def test_rows_that_do_not_fit_are_refused_and_harm_nothing(tmp_path, stage, part, words):
    journal = Journal(tmp_path)
    journal.append("a", rows(4))
    with pytest.raises(InputError, match=words):
        journal.append(stage, part)
    assert_rows(journal.read("a"), 4)


def test_chunks_with_other_columns_are_refused(tmp_path):
    for part in (rows(1), {"index": torch.tensor([2])}):
        with Journal(tmp_path) as journal:
            journal.append("a", part)
    with pytest.raises(InputError, match=r"stage='a'.*different columns"):
        journal.read("a")
    with pytest.raises(InputError, match="every=0"):
        Journal(tmp_path, every=0)


def test_a_full_disk_keeps_the_rows_for_the_next_flush(tmp_path, monkeypatch):
    from holdfast.runs import atomic

    def refuse(path, data):
        raise atomic.unwritable(path, OSError(28, ""))

    journal = Journal(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(atomic, "write_bytes", refuse)
        journal.append("a", rows(4))
        with pytest.raises(InputError, match="free space"):
            journal.flush()
    journal.append("a", rows(3))
    assert_rows(journal.read("a"), 3, 4)


KILLED = """
import glob, os, signal, time
import torch
from holdfast.runs import Journal
torch.set_num_threads(1)
total = chunks = 0
for attempt in range(8):
    child = os.fork()
    if not child:
        journal = Journal("j", rank=attempt % 2, every=3)
        for step in range(10**9):
            index = torch.arange(2) + 2 * step + 10**6 * attempt
            journal.append("a", {"index": index, "x": index.view(2, 1).expand(2, 500) * 1.0})
    while len(glob.glob("j/*")) < chunks + 1 + attempt % 3:
        time.sleep(0.0005)
    time.sleep(0.0007 * attempt)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    chunks = len(glob.glob("j/*"))
    rows = Journal("j").read("a")
    index = rows["index"]
    assert (rows["x"] == index.view(-1, 1)).all()
    for one in range(attempt + 1):  # what is there of each attempt is its beginning, in chunks of 4
        mine = index[index // 10**6 == one] - 10**6 * one
        assert torch.equal(mine, torch.arange(len(mine))) and len(mine) % 4 == 0, mine
    assert len(index) >= total
    total = len(index)
assert total >= 40, total
"""


@pytest.mark.slow
def test_a_journal_killed_at_any_moment_is_readable(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert b"damaged" not in done.stderr
