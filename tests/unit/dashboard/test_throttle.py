"""How long a guesser waits, and that the memory of it is bounded; with a clock that the test moves."""

import pytest

from dashboard.throttle import MOST_KEYS, Attempt, Failures, LoginThrottle
from domain.pace import Pace, network


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_each_failure_beyond_the_fifth_doubles_the_wait_up_to_a_quarter_hour(clock):
    failures, waits = Failures(clock), []
    for _ in range(16):
        failures.failed("anna")
        waits.append(failures.wait("anna"))
        clock.now += waits[-1]
    assert waits[:9] == [0, 0, 0, 0, 5, 10, 20, 40, 80]
    assert waits[-1] == 900
    assert failures.wait("anna") == 0


def test_failures_are_forgotten_with_time_and_after_a_success(clock):
    failures = Failures(clock)
    for _ in range(9):
        failures.failed("anna")
    clock.now += 3601
    failures.failed("anna")
    assert failures.wait("anna") == 0
    for _ in range(9):
        failures.failed("ben")
    failures.succeeded("ben")
    assert failures.wait("ben") == 0


def test_the_memory_stays_small_however_many_try(clock):
    failures, pace = Failures(clock), Pace(1, 1, clock=clock)
    for n in range(MOST_KEYS + 500):
        failures.failed(str(n))
        pace.take(str(n))
    assert len(failures) == len(pace._left) == MOST_KEYS


def test_a_pace_lets_a_burst_through_and_then_its_rate(clock):
    pace = Pace(rate=2, burst=3, clock=clock)
    assert [pace.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    clock.now += 0.5
    assert pace.take("a") == 0
    assert pace.take("b") == 0
    pace.give_back("a")
    assert pace.take("a") == 0
    clock.now += 1000
    assert [pace.take("a") for _ in range(4)][3] > 0


def test_parallel_tries_do_not_slip_through(clock):
    throttle = LoginThrottle(clock)
    begun = [throttle.begin("anna", "192.0.2.1") for _ in range(10)]
    assert [isinstance(b, Attempt) for b in begun] == [True] * 5 + [False] * 5


def test_one_customers_ipv6_addresses_are_one_address():
    assert network("2001:db8::1") == network("2001:db8::ffff:1") != network("2001:db8:0:1::1")
    assert network("192.0.2.1") == "192.0.2.1"
    assert network("testclient") == "testclient"


def guess(throttle, name, address, device=""):
    """Try until one must wait; return how often one could."""
    tries = 0
    while isinstance(throttle.begin(name, address, device), Attempt):
        tries += 1
    return tries


def test_strangers_everywhere_slow_down_each_other_and_not_the_person_at_their_own_browser(clock):
    throttle = LoginThrottle(clock)
    for n in range(20):
        guess(throttle, "anna", f"198.51.100.{n}")
    assert throttle.begin("anna", "203.0.113.9") <= 10  # a newcomer waits for seconds
    assert isinstance(throttle.begin("anna", "203.0.113.9", device="hers"), Attempt)


def test_a_neighbour_behind_the_same_proxy_keeps_out_nobody_who_was_there_before(clock):
    throttle = LoginThrottle(clock)
    for n in range(60):
        guess(throttle, f"name{n}", "192.0.2.1")
    assert throttle.begin("newcomer", "192.0.2.1") <= 3
    clock.now += 3
    assert isinstance(throttle.begin("newcomer", "192.0.2.1"), Attempt)
    assert isinstance(throttle.begin("anna", "192.0.2.1", device="hers"), Attempt)


def test_a_known_browser_may_fail_as_often_as_any(clock):
    assert guess(LoginThrottle(clock), "anna", "192.0.2.1", device="hers") == 5


def test_a_success_gives_back_its_own_try_only(clock):
    throttle = LoginThrottle(clock)
    for _ in range(40):
        guess(throttle, "anna", "192.0.2.1")
        own = throttle.begin("mallory", "192.0.2.1")
        assert isinstance(own, Attempt)
        throttle.succeeded(own)
    assert throttle.begin("anna", "192.0.2.1") > 0
