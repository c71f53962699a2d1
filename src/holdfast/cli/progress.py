"""Progress on stderr: one line per stage or epoch, rewritten on a terminal, plain elsewhere.

Listens to the events of `benchmark.evaluate`, `training` and the quick start by the names of their
classes, so that nothing heavy is imported.
"""

import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from holdfast.cli.output import talks

PLAIN_SECONDS = 10.0
LIVE_SECONDS = 0.2


class Lines:
    """A listener that writes progress.

    Args:
        quiet: write nothing.
        stream: where to; stderr by default.
        clock: seconds.

    On a terminal the current line is rewritten; elsewhere a line is written at the end of each
    stage and every 10 seconds within it.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.stream = stream if stream is not None else sys.stderr
        self.quiet, self.clock = quiet or not talks(), clock
        self.live = self.stream.isatty()
        self.stage, self.began, self.first = "", clock(), 0
        self.shown = clock()
        self.open = False
        self.ended = True

    def __call__(self, event: Any) -> None:
        """Shows one event."""
        show = getattr(self, f"_on_{type(event).__name__.lower()}", None)
        if show is not None and not self.quiet:
            show(event)

    def close(self) -> None:
        """Ends a line that is being rewritten."""
        if self.open:
            self.stream.write("\n")
            self.stream.flush()
            self.open = False

    def _on_progress(self, event: Any) -> None:
        if event.stage != self.stage:
            self.stage, self.began, self.first = event.stage, self.clock(), event.done
            self.ended = False
        whole = event.done >= event.total
        if self.ended:
            return
        self.ended = whole
        passes = f"passes {event.forwards:,} + {event.backwards:,}"
        left = "" if whole else f"  {self._left(event.done, event.total)}"
        self._line(
            f"{event.stage}  {event.done}/{event.total}  robust so far {event.robust:.2%}"
            f"  undecided {event.undecided}  {passes}{left}",
            end=whole,
        )

    def _on_radiiprogress(self, event: Any) -> None:
        whole = event.done >= event.total
        if not self.stage:
            self.stage, self.began, self.first = "radii", self.clock(), 0
        left = "" if whole else f"  {self._left(event.done, event.total)}"
        text = f"radii  {event.done}/{event.total}  mean so far {event.mean:.4g}{left}"
        self._line(text, end=whole)

    def _on_started(self, event: Any) -> None:
        self._line(
            f"training on {event.examples} examples, {event.epochs} epochs, "
            f"passes {event.forwards:,} + {event.backwards:,}"
            + (f", from step {event.done} of {event.steps}" if event.done else ""),
            end=True,
        )

    def _on_stepdone(self, event: Any) -> None:
        loss = event.logs.get("loss")
        told = "" if loss is None else f"  loss {loss:.4f}"
        text = f"epoch {event.epoch}  step {event.step}/{event.steps}{told}"
        self._line(f"{text}  {duration(event.left)} left", end=False)

    def _on_epochdone(self, event: Any) -> None:
        text = f"epoch {event.epoch}/{event.epochs}  loss {event.logs.get('loss', 0.0):.4f}"
        if event.clean is not None:
            text += f"  validation clean {event.clean:.2%}"
        if event.robust is not None:
            text += f"  robust {event.robust:.2%}{'  (best)' if event.improved else ''}"
        self._line(f"{text}  {duration(event.left)} left", end=True)

    def _on_warned(self, event: Any) -> None:
        self._line(f"warning: {event.text}", end=True)

    def _on_step(self, event: Any) -> None:
        self.stage = ""
        self._line(f"[{event.number}/{event.total}] {event.what} {event.model}", end=True)

    def _left(self, done: int, total: int) -> str:
        """The time left in a stage, once it can be told."""
        elapsed, fresh = self.clock() - self.began, done - self.first
        if fresh <= 0:
            return "time left unknown"
        return f"{duration(elapsed / fresh * (total - done))} left"

    def _line(self, text: str, *, end: bool) -> None:
        now = self.clock()
        if not end and now - self.shown < (LIVE_SECONDS if self.live else PLAIN_SECONDS):
            return
        self.shown = now
        if self.live:
            self.stream.write(f"\r\x1b[K{text}" + ("\n" if end else ""))
            self.open = not end
        else:
            self.stream.write(text + "\n")
        self.stream.flush()


def duration(seconds: float) -> str:
    """A time in words.

    Example:
        >>> duration(4.2), duration(75), duration(7260)
        ('4 s', '1 min 15 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
