"""Full collections stay short however much lives for as long as the service, and nothing that goes is kept."""

import gc
import time
import weakref

import pytest

from service.garbage import LONG_S, ShortCollections


class Link:
    def __init__(self):
        self.other = self


@pytest.fixture
def short():
    made = ShortCollections()
    with made.kept_short():
        gc.collect()  # what the tests before left
        yield made


def collected():
    began = time.thread_time()
    gc.collect()
    return time.thread_time() - began


def test_what_lives_on_is_walked_once(short):
    gc.disable()  # nothing is set aside before it is measured
    try:
        kept = [[n] for n in range(1_000_000)]
        first = collected()
    finally:
        gc.enable()
    assert first > LONG_S  # the walk that shall not be repeated
    assert min(collected() for _ in range(3)) < first / 5
    assert short.stats()["survivors_set_aside"] >= 1
    assert short.stats()["longest_collection_s"] >= first / 2
    del kept


def test_what_was_set_aside_is_still_freed_when_nobody_refers_to_it(short):
    kept = [{n} for n in range(500_000)]
    gc.collect()
    seen = weakref.ref(kept[0])
    kept.clear()
    assert seen() is None


def test_rings_of_new_objects_are_still_collected(short):
    kept = [[n] for n in range(1_000_000)]
    gc.collect()
    ring = Link()
    seen = weakref.ref(ring)
    del ring
    gc.collect()
    assert seen() is None
    del kept


def test_afterwards_all_is_as_before():
    before = list(gc.callbacks)
    with ShortCollections().kept_short():
        assert gc.callbacks != before
        gc.freeze()
    assert gc.callbacks == before
    assert gc.get_freeze_count() == 0
