"""Being stopped politely: SIGTERM, which schedulers and parents send, acts like Ctrl-C."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def graceful_interrupt() -> Iterator[None]:
    """Turns the first SIGTERM or Ctrl-C into KeyboardInterrupt, so that state is saved on the way
    out.

    A SIGTERM that follows is ignored, since saving is under way; a further Ctrl-C interrupts that
    too. Outside the main thread, where Python admits no handlers, nothing is changed.

    Guarantee: the former handlers are back on exit.

    Raises:
        KeyboardInterrupt: in the block, when the signal comes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stopping = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        if not (stopping and number == signal.SIGTERM):
            stopping = True
            raise KeyboardInterrupt

    former = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        for number in former:
            signal.signal(number, stop)
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
