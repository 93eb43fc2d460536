"""The spool on disk."""

import pytest

from collectors.nvml import spool as module
from collectors.nvml.spool import Spool

LIMIT = 1 << 20


def messages(spool):
    return [spool.read(s) for s in spool.waiting()]


@pytest.mark.parametrize("on_disk", [True, False])
def test_what_is_put_in_comes_out_in_order(tmp_path, on_disk):
    spool = Spool(tmp_path if on_disk else None, LIMIT)
    assert [spool.append(b"%d" % n) for n in range(5)] == [0, 1, 2, 3, 4]
    assert messages(spool) == [b"0", b"1", b"2", b"3", b"4"]
    spool.taken(1)
    assert messages(spool) == [b"0", b"2", b"3", b"4"]


def test_a_killed_agent_finds_what_was_not_taken_and_goes_on_counting(tmp_path):
    first = Spool(tmp_path, LIMIT)
    for n in range(10):
        first.append(b"message %d" % n)
    for n in (0, 1, 2, 5):
        first.taken(n)
    # no close: the process was killed
    second = Spool(tmp_path, LIMIT)
    assert list(second.waiting()) == [3, 4, 5, 6, 7, 8, 9]  # 5 again: told twice is better than never
    assert second.read(3) == b"message 3"
    assert second.append(b"next") == 10


def test_the_sequence_goes_on_after_everything_was_taken(tmp_path):
    first = Spool(tmp_path, LIMIT)
    for n in range(3):
        first.append(b"x")
        first.taken(n)
    second = Spool(tmp_path, LIMIT)
    assert len(second) == 0
    assert second.append(b"x") == 3


def test_a_record_cut_off_by_a_kill_is_left_out(tmp_path):
    first = Spool(tmp_path, LIMIT)
    first.append(b"whole")
    first.append(b"cut off")
    (segment,) = tmp_path.glob("*.sweeps")
    segment.write_bytes(segment.read_bytes()[:-3])
    second = Spool(tmp_path, LIMIT)
    assert messages(second) == [b"whole"]
    assert second.append(b"more") == 1
    assert messages(Spool(tmp_path, LIMIT)) == [b"whole", b"more"]


def test_a_full_spool_drops_the_oldest_and_counts_them(tmp_path):
    spool = Spool(tmp_path, LIMIT)
    for _ in range(2000):
        spool.append(b"x" * 1000)
    waiting = list(spool.waiting())
    assert spool.dropped == 2000 - len(waiting) > 0
    assert waiting == list(range(2000 - len(waiting), 2000))
    assert sum(f.stat().st_size for f in tmp_path.iterdir()) <= LIMIT


def test_memory_is_bounded_too():
    spool = Spool(None, LIMIT)
    for _ in range(2000):
        spool.append(b"x" * 1000)
    assert len(spool) + spool.dropped == 2000
    assert len(spool) * 1000 <= LIMIT


def test_taken_segments_leave_the_disk(tmp_path):
    spool = Spool(tmp_path, LIMIT)
    for n in range(500):
        spool.append(b"x" * 1000)
        spool.taken(n)
    assert sum(f.stat().st_size for f in tmp_path.iterdir()) < 2 * LIMIT / module._SEGMENTS


def test_a_disk_that_is_full_costs_the_oldest_not_the_newest(tmp_path):
    """/dev/full answers every write with "no space left"."""
    spool = Spool(tmp_path, LIMIT)
    for _ in range(3):
        spool.append(b"old")
    assert spool._file is not None
    spool._file.close()
    spool._file = open("/dev/full", "ab", buffering=0)  # noqa: SIM115
    newest = spool.append(b"new")
    assert spool.read(newest) == b"new"
    assert spool.dropped == 3
    assert spool.failures == 1


def test_a_folder_that_vanished_leaves_the_sweep_in_memory(tmp_path):
    folder = tmp_path / "spool"
    spool = Spool(folder, LIMIT)
    folder.rmdir()
    sequence = spool.append(b"kept")
    assert spool.read(sequence) == b"kept"
    assert spool.failures == 1
