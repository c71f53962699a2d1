import os
import signal
import threading
import time

import pytest

from holdfast.runs import graceful_interrupt


def send(number):
    os.kill(os.getpid(), number)
    time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_interrupts_and_handlers_come_back(number):
    former = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(KeyboardInterrupt), graceful_interrupt():
        send(number)
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == former


def test_saving_is_not_interrupted_by_a_further_sigterm_but_by_ctrl_c():
    saved = []

    def work():
        with graceful_interrupt():
            try:
                send(signal.SIGTERM)
            finally:
                send(signal.SIGTERM)
                saved.append("after SIGTERM")
                send(signal.SIGINT)
                saved.append("after Ctrl-C")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert saved == ["after SIGTERM"]


def test_other_threads_are_left_alone():
    former, inside = signal.getsignal(signal.SIGTERM), []

    def work():
        with graceful_interrupt():
            inside.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert inside == [former]
