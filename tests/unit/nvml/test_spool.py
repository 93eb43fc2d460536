"""The spool on disk."""

import pytest

from collectors.nvml.spool import SEGMENTS, SweepSpool

LIMIT = 1 << 20


def messages(spool):
    return [spool.read(s) for s in spool.waiting()]


@pytest.mark.parametrize("on_disk", [True, False])
def test_what_is_put_in_comes_out_in_order(tmp_path, on_disk):
    spool = SweepSpool(tmp_path if on_disk else None, LIMIT)
    assert [spool.append(b"%d" % n) for n in range(5)] == [0, 1, 2, 3, 4]
    assert messages(spool) == [b"0", b"1", b"2", b"3", b"4"]
    spool.taken(1)
    assert messages(spool) == [b"0", b"2", b"3", b"4"]


def test_a_killed_agent_finds_what_was_not_taken_and_goes_on_counting(tmp_path):
    first = SweepSpool(tmp_path, LIMIT)
    for n in range(10):
        first.append(b"message %d" % n)
    for n in (0, 1, 2, 5):
        first.taken(n)
    # no close: the process was killed
    second = SweepSpool(tmp_path, LIMIT)
    assert list(second.waiting()) == [3, 4, 5, 6, 7, 8, 9]  # 5 again: told twice is better than never
    assert second.read(3) == b"message 3"
    assert second.append(b"next") == 10


def test_the_sequence_goes_on_after_everything_was_taken(tmp_path):
    first = SweepSpool(tmp_path, LIMIT)
    for n in range(3):
        first.append(b"x")
        first.taken(n)
    second = SweepSpool(tmp_path, LIMIT)
    assert len(second) == 0
    assert second.append(b"x") == 3


def test_a_record_cut_off_by_a_kill_is_left_out(tmp_path):
    first = SweepSpool(tmp_path, LIMIT)
    first.append(b"whole")
    first.append(b"cut off")
    (segment,) = tmp_path.glob("*.spool")
    segment.write_bytes(segment.read_bytes()[:-3])
    second = SweepSpool(tmp_path, LIMIT)
    assert messages(second) == [b"whole"]
    assert second.append(b"more") == 1
    assert messages(SweepSpool(tmp_path, LIMIT)) == [b"whole", b"more"]


def test_a_full_spool_drops_the_oldest_and_counts_them(tmp_path):
    spool = SweepSpool(tmp_path, LIMIT)
    for _ in range(2000):
        spool.append(b"x" * 1000)
    waiting = list(spool.waiting())
    assert spool.dropped == 2000 - len(waiting) > 0
    assert waiting == list(range(2000 - len(waiting), 2000))
    assert sum(f.stat().st_size for f in tmp_path.iterdir()) <= LIMIT


def test_memory_is_bounded_too():
    spool = SweepSpool(None, LIMIT)
    for _ in range(2000):
        spool.append(b"x" * 1000)
    assert len(spool) + spool.dropped == 2000
    assert len(spool) * 1000 <= LIMIT


def test_taken_segments_leave_the_disk(tmp_path):
    spool = SweepSpool(tmp_path, LIMIT)
    for n in range(500):
        spool.append(b"x" * 1000)
        spool.taken(n)
    assert sum(f.stat().st_size for f in tmp_path.iterdir()) < 2 * LIMIT / SEGMENTS


def test_a_disk_that_is_full_costs_the_oldest_not_the_newest(tmp_path):
    """/dev/full answers every write with "no space left"."""
    spool = SweepSpool(tmp_path, LIMIT)
    for _ in range(3):
        spool.append(b"old")
    below = spool._spool
    below._file.close()
    below._file = open("/dev/full", "ab")  # noqa: SIM115
    newest = spool.append(b"new")
    assert spool.read(newest) == b"new"
    assert spool.dropped == 3
    assert spool.failures == 1


def test_a_folder_that_vanished_leaves_the_sweep_in_memory(tmp_path):
    folder = tmp_path / "spool"
    spool = SweepSpool(folder, LIMIT)
    folder.rmdir()
    sequence = spool.append(b"kept")
    assert spool.read(sequence) == b"kept"
    assert spool.failures == 1


def test_sweeps_that_only_memory_took_keep_their_numbers_beside_those_on_disk(tmp_path):
    spool = SweepSpool(tmp_path, LIMIT)
    spool.append(b"disk")
    spool.taken(0)
    spool.close()
    spool._spool.folder = tmp_path / "gone"
    assert spool.append(b"memory") == 1
    spool._spool.folder = tmp_path
    assert spool.append(b"disk again") == 2
    assert messages(spool) == [b"memory", b"disk again"]
    spool.taken(1)
    assert messages(SweepSpool(tmp_path, LIMIT)) == [b"disk again"]
    assert SweepSpool(tmp_path, LIMIT).next_sequence == 3


def test_a_damaged_record_is_counted_and_the_others_are_read(tmp_path):
    spool = SweepSpool(tmp_path, LIMIT)
    for n in range(3):
        spool.append(b"message %d" % n)
    (segment,) = tmp_path.glob("*.spool")
    segment.write_bytes(segment.read_bytes().replace(b"message 1", b"massage 1"))
    assert [spool.read(n) for n in range(3)] == [b"message 0", None, b"message 2"]
    assert spool.dropped == 1
    assert messages(SweepSpool(tmp_path, LIMIT)) == [b"message 0", b"message 2"]
