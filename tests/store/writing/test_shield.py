from __future__ import annotations

import os
import signal
import threading

import pytest

from streamsvd.store.writing.shield import defer_interrupts


def test_an_interrupt_waits_for_the_end_of_the_block_and_comes_then():
    done = []
    with pytest.raises(KeyboardInterrupt):
        with defer_interrupts():
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
                done.append(1)
        done.append(2)
    assert done == [1, 1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_blocks_within_blocks_are_interrupted_after_the_outermost():
    done = []
    with pytest.raises(KeyboardInterrupt), defer_interrupts():
        with defer_interrupts():
            os.kill(os.getpid(), signal.SIGINT)
        done.append(1)
    assert done == [1]


def test_an_interrupt_is_not_lost_to_an_error():
    with pytest.raises(KeyboardInterrupt) as caught, defer_interrupts():
        os.kill(os.getpid(), signal.SIGINT)
        raise OSError("full")
    assert isinstance(caught.value.__context__, OSError)


def test_an_interrupt_that_the_process_ignores_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with defer_interrupts():
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_threads_that_no_signal_reaches_need_nothing():
    found = []

    def inside() -> None:
        with defer_interrupts():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]
