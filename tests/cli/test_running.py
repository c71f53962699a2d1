"""The run directory around a verb: made, locked, continued, removed, copied."""

import json

import pytest

from holdfast.cli.running import ARGUMENTS, Interrupted, check_out, command, kept_run, write_text
from holdfast.core.errors import InputError, RunConflict
from holdfast.runs.directory import Run


@pytest.fixture
def arguments():
    """The command line of the test."""
    token = ARGUMENTS.set(("evaluate", "--model", "my net", "--resume"))
    yield
    ARGUMENTS.reset(token)


def opened(path=None, resume=False, out=None):
    return kept_run("evaluate", "net", "digits", path, resume=resume, out=out)


@pytest.mark.usefixtures("arguments")
def test_the_command_can_be_pasted():
    assert command() == "holdfast evaluate --model 'my net' --resume"


@pytest.mark.usefixtures("arguments")
def test_an_interrupt_names_the_command_that_continues(tmp_path):
    with pytest.raises(Interrupted) as stop, opened(str(tmp_path / "r")):
        raise KeyboardInterrupt
    assert str(stop.value) == (
        f"holdfast evaluate --model 'my net' --resume --run {tmp_path / 'r'}"
    )
    assert (tmp_path / "r" / "run.json").is_file()


def test_a_copy_of_the_result_is_written_at_the_end(here):
    with opened(out="deep/copy.json") as run:
        run.write_result({"robust_accuracy": 0.5})
    assert run.path.name == "evaluate-net-digits-1"
    assert (here / "deep" / "copy.json").read_bytes() == run.result_file.read_bytes()
    assert json.loads((here / "deep" / "copy.json").read_text())["robust_accuracy"] == 0.5


def test_a_run_in_use_is_refused(tmp_path):
    path = str(tmp_path / "r")
    with opened(path), pytest.raises(RunConflict, match="in use"), opened(path, resume=True):
        pass
    assert Run.open(path).describe()["verb"] == "evaluate"


def test_an_output_that_cannot_be_is_refused_before_the_work(here):
    (here / "file").write_text("")
    for out, told in (("runs", "is a folder"), ("file/a/b.json", "lies below file")):
        with pytest.raises(InputError, match=told):
            check_out(out)
    check_out("new/folder/result.json")
    assert not (here / "new").exists()


def test_a_text_goes_to_the_file_or_to_stdout(here, capsys):
    write_text(None, "a\n")
    write_text("b.txt", "b\n")
    assert capsys.readouterr().out == "a\n"
    assert (here / "b.txt").read_text() == "b\n"
