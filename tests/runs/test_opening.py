"""The run directory around a verb: numbered, locked, continued, removed if nothing came."""

import pytest

from holdfast.core.errors import CaptureError, InputError, RunConflict
from holdfast.runs.directory import Run
from holdfast.runs.opening import run_directory


def opened(root, run=None, **options):
    return run_directory("evaluate", "net", "digits", run, root=root, numbered=True, **options)


def test_without_a_path_runs_are_numbered(tmp_path):
    for number in (1, 2):
        with opened(tmp_path / "runs") as run:
            assert run.path == tmp_path / "runs" / f"evaluate-net-digits-{number}"


def test_none_stays_none_and_an_open_run_is_passed_on(tmp_path):
    with run_directory("evaluate", "net", "digits", None) as run:
        assert run is None
    given = Run.create("evaluate", "net", "digits", path=tmp_path / "r")
    with run_directory("evaluate", "net", "digits", given) as run:
        assert run is given
    none = run_directory("evaluate", "net", "digits", None, resume=True)
    with pytest.raises(InputError, match="has no run to go on with"), none:
        pass


def test_a_run_in_use_is_refused(tmp_path):
    path = tmp_path / "r"
    with opened(tmp_path, path):
        second = opened(tmp_path, path, resume=True)
        with pytest.raises(RunConflict, match="in use"), second:
            pass
    with opened(tmp_path, path, resume=True) as run:
        assert run.path == path


def fail_later(run, error):
    """Fails after some rows are in the journal."""
    run.journal.mkdir()
    (run.journal / "clean.safetensors").write_bytes(b"")
    raise error


@pytest.mark.parametrize("had_root", [True, False])
def test_a_new_directory_in_which_nothing_came_is_removed(tmp_path, had_root):
    root = tmp_path / "runs"
    if had_root:
        root.mkdir()
    with pytest.raises(InputError), opened(root):
        raise InputError("x", 1, "is wrong", "change it")
    assert list(tmp_path.iterdir()) == ([root] if had_root else [])


def test_what_was_computed_is_kept(tmp_path):
    path = tmp_path / "r"
    with pytest.raises(InputError), opened(tmp_path, path) as run:
        fail_later(run, InputError("x", 1, "is wrong", "change it"))
    assert path.is_dir()
    with pytest.raises(KeyboardInterrupt), opened(tmp_path, tmp_path / "s"):
        raise KeyboardInterrupt
    assert (tmp_path / "s").is_dir()
    with pytest.raises(CaptureError), opened(tmp_path, tmp_path / "t") as run:
        fail_later(run, CaptureError("sin is not known"))
    assert not (tmp_path / "t").exists()


def test_resume_takes_the_newest_unfinished_run_of_that_name(tmp_path):
    made = [Run.create("evaluate", "net", "digits", root=tmp_path) for _ in range(3)]
    Run.create("evaluate", "other", "digits", root=tmp_path)
    made[2].write_result({})
    with opened(tmp_path, resume=True) as run:
        assert run.path == made[1].path
    for each in made[:2]:
        each.write_result({})
    with pytest.raises(InputError, match="finds no unfinished evaluate of net on digits"):
        opened(tmp_path, resume=True).__enter__()


def test_a_resumed_run_is_not_removed(tmp_path):
    Run.create("evaluate", "net", "digits", path=tmp_path / "r")
    with pytest.raises(InputError), opened(tmp_path, tmp_path / "r", resume=True):
        raise InputError("x", 1, "is wrong", "change it")
    assert (tmp_path / "r").is_dir()
