import os
import subprocess
import sys
from itertools import pairwise

import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.runs import Metrics, metrics


def test_records_come_back_in_order_and_without_nan(tmp_path):
    path = tmp_path / "run" / "metrics.jsonl"
    with Metrics(path) as log:
        log.write(step=1, loss=torch.tensor(0.5), name="ü\n")
        assert metrics.read(path) == [{"step": 1, "loss": 0.5, "name": "ü\n"}]
        log.write(step=2, loss=float("nan"))
    with Metrics(path) as log:
        log.write(step=3)
    assert metrics.read(path)[1:] == [{"step": 2, "loss": None}, {"step": 3}]
    assert path.read_bytes().count(b"\n") == 3
    assert metrics.read(tmp_path / "absent") == []


@pytest.mark.parametrize("torn", ['{"step": 3, "lo', '{"step": 3}', "\x00\x00"])
def test_a_torn_last_line_is_skipped_and_does_not_spoil_the_next(tmp_path, torn):
    path = tmp_path / "m"
    path.write_text('{"step": 1}\n{"step": 2}\n' + torn)
    whole = [{"step": 3}] if torn.endswith("}") else []
    assert metrics.read(path) == [{"step": 1}, {"step": 2}, *whole]
    with Metrics(path) as log:
        log.write(step=4)
    assert metrics.read(path) == [{"step": 1}, {"step": 2}, *whole, {"step": 4}]


def test_every_cut_of_a_file_is_readable(tmp_path):
    path = tmp_path / "m"
    with Metrics(path) as log:
        for step in range(3):
            log.write(step=step, text="}\n{")
    data = path.read_bytes()
    whole = metrics.read(path)
    for size in range(len(data) + 1):
        path.write_bytes(data[:size])
        assert metrics.read(path) == whole[: len(metrics.read(path))]
        assert len(metrics.read(path)) >= data[:size].count(b"\n")


@pytest.mark.parametrize("line", ["{", "[1]", "7"])
def test_damage_elsewhere_names_the_line(tmp_path, line):
    (tmp_path / "m").write_text('{"step": 1}\n' + line + '\n{"step": 2}\n')
    with pytest.raises(InputError, match="line 2"):
        metrics.read(tmp_path / "m")


def test_truncate_drops_what_lies_beyond_with_what_belongs_to_it(tmp_path):
    path = tmp_path / "m"
    with Metrics(path) as log:
        for record in (
            {"event": "start"},
            {"epoch": 1},
            {"epoch": 2},
            {"event": "chosen"},
            {"epoch": 3},
            {"event": "other"},
        ):
            log.write(**record)
    assert metrics.truncate_after(path, "epoch", 5) == 0
    assert metrics.truncate_after(path, "epoch", 2) == 2
    assert metrics.read(path) == [
        {"event": "start"},
        {"epoch": 1},
        {"epoch": 2},
        {"event": "chosen"},
    ]
    assert Metrics.truncate_after(path, "epoch", 0) == 3
    assert Metrics.read(path) == [{"event": "start"}]
    assert [file.name for file in tmp_path.iterdir()] == ["m"]


def test_a_full_disk_is_reported_and_takes_the_record_back(tmp_path):
    code = """
import resource
from holdfast.core.errors import InputError
from holdfast.runs import Metrics, metrics
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
log = Metrics("m")
log.write(text="fits")
try:
    log.write(text="x" * 200)
except InputError as error:
    assert "'m'" in str(error) and "File too large" in str(error), error
else:
    raise AssertionError("written")
log.write(text="fits, too")
assert [r["text"] for r in metrics.read("m")] == ["fits", "fits, too"]
assert "xx" not in open("m").read()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    with pytest.raises(InputError, match=r"/dev/full.*No space"), Metrics("/dev/full") as log:
        log.write(step=1)


def test_values_without_a_form_leave_no_trace(tmp_path):
    with Metrics(tmp_path / "m") as log:
        log.write(step=1)
        with pytest.raises(TypeError, match="object"):
            log.write(step=object())
    assert metrics.read(tmp_path / "m") == [{"step": 1}]


def test_a_writer_killed_at_any_moment_leaves_whole_records(tmp_path):
    code = """
from holdfast.runs import Metrics
log = Metrics("m")
log.write(step=0)
print("on", flush=True)
step = 0
while True:
    step += 1
    log.write(step=step, text="x" * 1000)
"""
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, env=dict(os.environ)
        )
        with process:
            assert process.stdout.readline() == b"on\n"
            process.kill()
    steps = [record["step"] for record in metrics.read(tmp_path / "m")]
    assert steps.count(0) == 3
    assert all(b in (a + 1, 0) for a, b in pairwise(steps))
