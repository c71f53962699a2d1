import os
import signal
import threading

import pytest

from holdfast.training.interrupts import Interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_end_of_a_whole_part(number):
    former, done, interrupts = signal.getsignal(number), [], Interrupts()

    def work():
        with interrupts:
            with interrupts.whole():
                os.kill(os.getpid(), number)
                done.append("rest of the part")
            done.append("never")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["rest of the part"]
    assert not interrupts.torn
    assert signal.getsignal(number) is former


def test_elsewhere_it_acts_at_once():
    interrupts = Interrupts()

    def work():
        with interrupts:
            os.kill(os.getpid(), signal.SIGTERM)
            pytest.fail("went on")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert not interrupts.torn


def test_a_second_one_does_not_wait_and_marks_the_state_as_torn():
    interrupts = Interrupts()

    def work():
        with interrupts, interrupts.whole():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)  # saving is under way
            os.kill(os.getpid(), signal.SIGINT)
            pytest.fail("went on")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert interrupts.torn


def test_outside_the_main_thread_nothing_is_changed():
    former, seen = signal.getsignal(signal.SIGINT), []

    def work():
        with Interrupts() as interrupts, interrupts.whole():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [former]
