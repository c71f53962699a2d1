"""Progress lines: one per stage, throttled, rewritten on a terminal only."""

import io

import pytest

from holdfast.benchmark.evaluate import Progress
from holdfast.cli.progress import Lines, duration
from holdfast.training.events import EpochDone, Started, StepDone, Warned


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


def event(stage="fgsm@linf:0.1", done=0, total=100):
    return Progress(stage, done, total, robust=0.5, undecided=40, forwards=1234, backwards=99)


@pytest.fixture(autouse=True)
def _rank_0(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)


def test_a_stage_is_one_line_at_its_end():
    stream, clock = io.StringIO(), Clock()
    lines = Lines(stream=stream, clock=clock)
    for done in (0, 30, 60, 100, 100):
        clock.now += 1.0
        lines(event(done=done))
    assert stream.getvalue() == (
        "fgsm@linf:0.1  100/100  robust so far 50.00%  undecided 40  passes 1,234 + 99\n"
    )


def test_a_long_stage_tells_every_ten_seconds_how_long_it_takes():
    stream, clock = io.StringIO(), Clock()
    lines = Lines(stream=stream, clock=clock)
    for second in range(41):
        clock.now = float(second)
        lines(event(done=second))
    found = stream.getvalue().splitlines()
    assert len(found) == 4
    assert found[0].endswith("1 min 30 s left")
    assert "\r" not in stream.getvalue()


def test_a_resumed_stage_reckons_from_where_it_began():
    stream, clock = io.StringIO(), Clock()
    lines = Lines(stream=stream, clock=clock)
    lines(event(done=80))
    clock.now = 20.0
    lines(event(done=90))
    assert stream.getvalue().splitlines()[0].endswith("20 s left")


def test_a_terminal_line_is_rewritten():
    stream, clock = Terminal(), Clock()
    lines = Lines(stream=stream, clock=clock)
    clock.now = 1.0
    lines(event(done=10))
    lines.close()
    assert stream.getvalue().startswith("\r\x1b[K")
    assert stream.getvalue().endswith("\n")


@pytest.mark.parametrize("quiet", [True, False])
def test_quiet_and_other_ranks_say_nothing(quiet, monkeypatch):
    stream = io.StringIO()
    if not quiet:
        monkeypatch.setenv("RANK", "1")
    Lines(quiet=quiet, stream=stream)(event(done=100))
    assert stream.getvalue() == ""


def test_training_is_told_by_epochs():
    stream, clock = io.StringIO(), Clock()
    lines = Lines(stream=stream, clock=clock)
    lines(Started(2, 20, 4, 500, 50, 1000, 900))
    lines(StepDone(1, 5, 20, {"loss": 1.0}, 0.1, 0.1, 1.0, 9.0))
    clock.now = 11.0
    lines(StepDone(1, 6, 20, {"loss": 0.5}, 0.1, 0.1, 1.0, 9.0))
    lines(EpochDone(1, 2, {"loss": 0.25}, 0.9, 0.4, True, 3.0, 3.0))
    lines(Warned("look"))
    assert stream.getvalue().splitlines() == [
        "training on 500 examples, 2 epochs, passes 1,000 + 900, from step 4 of 20",
        "epoch 1  step 6/20  loss 0.5000  9 s left",
        "epoch 1/2  loss 0.2500  validation clean 90.00%  robust 40.00%  (best)  3 s left",
        "warning: look",
    ]


def test_durations_have_two_units_at_most():
    assert [duration(s) for s in (0.4, 59.6, 3599, 3600)] == [
        "0 s",
        "1 min 0 s",
        "59 min 59 s",
        "1 h 0 min",
    ]
