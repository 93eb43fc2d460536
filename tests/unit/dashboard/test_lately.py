"""Answers that the console's threads share: asked for once, and never older than what somebody did since."""

import threading

import pytest

from dashboard.lately import Lately
from domain.errors import StorageError


class Asked:
    def __init__(self):
        self.now, self.times = 1000, 0
        self.wait, self.entered = None, threading.Event()
        self.answers = Lately(self._ask, 500, lambda: self.now)

    def _ask(self):
        self.times += 1
        answer = self.times
        self.entered.set()
        if self.wait is not None:
            self.wait.wait(60)
        return answer


def test_an_answer_is_asked_for_again_once_it_is_too_old():
    asked = Asked()
    assert [asked.answers(), asked.answers()] == [1, 1]
    asked.now += 500
    assert asked.answers() == 2


def test_threads_that_want_it_at_once_ask_once():
    asked = Asked()
    asked.wait = threading.Event()
    got = []
    threads = [threading.Thread(target=lambda: got.append(asked.answers())) for _ in range(8)]
    for thread in threads:
        thread.start()
    asked.entered.wait(60)
    asked.wait.set()
    for thread in threads:
        thread.join()
    assert got == [1] * 8


def test_what_was_forgotten_while_somebody_asked_is_asked_for_again():
    asked = Asked()
    asked.wait = threading.Event()
    thread = threading.Thread(target=asked.answers)
    thread.start()
    asked.entered.wait(60)
    asked.answers.forget()  # an alert was acknowledged after the question had been put
    asked.wait.set()
    thread.join()
    assert asked.answers() == 2


def test_a_clock_that_was_set_back_makes_nothing_hold_for_ever():
    asked = Asked()
    asked.answers()
    asked.now -= 100_000
    assert asked.answers() == 2


def test_an_error_is_told_and_nothing_is_kept_of_it():
    answers = iter([StorageError("away"), 5])

    def ask():
        answer = next(answers)
        if isinstance(answer, StorageError):
            raise answer
        return answer

    lately = Lately(ask, 500, lambda: 0)
    with pytest.raises(StorageError):
        lately()
    assert lately() == 5
