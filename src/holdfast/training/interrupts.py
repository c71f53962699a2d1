"""Stops between steps, never within one: the state that is saved is always a whole one."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Interrupts:
    """Ctrl-C and SIGTERM as KeyboardInterrupt, put off while a part must not be cut in two.

    A context manager. Within `whole()` a signal waits for the end of the block; elsewhere it acts
    at once. A further Ctrl-C does not wait. Outside the main thread, where Python admits no
    handlers, nothing is changed.

    Guarantee: the former handlers are back on exit.
    """

    def __init__(self) -> None:
        self._former: dict[int, Any] = {}
        self._inside, self._pending = False, False
        self.torn = False
        """Whether a further Ctrl-C ended a part in its midst, so that no state may be saved."""

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._former[number] = signal.getsignal(number)
                signal.signal(number, self._stop)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._former = {}

    @contextmanager
    def whole(self) -> Iterator[None]:
        """A part that is finished before a signal acts.

        Raises:
            KeyboardInterrupt: at the end, when a signal came.
        """
        self._inside = True
        try:
            yield
        finally:
            self._inside = False
        if self._pending:
            raise KeyboardInterrupt

    def _stop(self, number: int, frame: FrameType | None) -> None:
        again, self._pending = self._pending, True
        if again and number == signal.SIGTERM:
            return
        if again or not self._inside:
            self.torn = self._inside
            raise KeyboardInterrupt
