"""The spool: order, crash, bounds."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import SpoolFull
from storage.spool import Spool


def records(spool: Spool) -> list[bytes]:
    return [r for _, r in spool.peek(1 << 40)]


def test_records_come_out_in_the_order_in_which_they_went_in(tmp_path):
    spool = Spool(tmp_path, 1 << 20, segment_bytes=64)
    for i in range(20):
        spool.append(b"record %d" % i)
    assert records(spool) == [b"record %d" % i for i in range(20)]
    assert len(spool) == 20


def test_what_was_taken_is_gone_and_the_rest_stays(tmp_path):
    spool = Spool(tmp_path, 1 << 20, segment_bytes=64)
    spool.append(*(b"%d" % i for i in range(10)))
    spool.done(spool.peek(3))
    assert records(spool) == [b"%d" % i for i in range(3, 10)]
    assert len(spool) == 7


def test_a_part_is_about_as_large_as_asked_for(tmp_path):
    spool = Spool(tmp_path, 1 << 20)
    spool.append(*(b"x" * 10 for _ in range(10)))
    assert len(spool.peek(35)) == 4


def test_everything_is_there_after_opening_again(tmp_path):
    spool = Spool(tmp_path, 1 << 20, segment_bytes=64)
    spool.append(*(b"%d" % i for i in range(30)))
    spool.done(spool.peek(5))
    # no close: as after kill -9
    again = Spool(tmp_path, 1 << 20, segment_bytes=64)
    assert records(again) == records(spool)
    again.append(b"more")
    assert records(again)[-1] == b"more"


def test_an_emptied_spool_takes_no_room_and_starts_anew(tmp_path):
    spool = Spool(tmp_path, 1 << 20)
    spool.append(b"a")
    spool.done(spool.peek())
    assert spool.size_bytes == 0
    spool.append(b"b")
    assert records(Spool(tmp_path, 1 << 20)) == [b"b"]


@pytest.mark.parametrize("torn", [1, 5, 13])
def test_a_record_that_a_crash_tore_is_cut_off_and_the_others_stay(tmp_path, torn):
    spool = Spool(tmp_path, 1 << 20)
    spool.append(b"first", b"second")
    spool.close()
    file = next(tmp_path.glob("*.spool"))
    os.truncate(file, file.stat().st_size - torn)
    again = Spool(tmp_path, 1 << 20)
    assert records(again) == [b"first"]
    again.append(b"third")
    assert records(again) == [b"first", b"third"]


@pytest.mark.parametrize("byte", [0, 5, 15])
def test_damage_costs_the_record_that_it_hit_which_is_set_aside(tmp_path, byte):
    spool = Spool(tmp_path, 1 << 20)
    spool.append(b"aaaaaaaaaa", b"bbbbbbbbbb", b"cccccccccc")
    spool.close()
    (segment,) = tmp_path.glob("*.spool")
    blob = bytearray(segment.read_bytes())
    blob[22 + byte] ^= 0xFF
    segment.write_bytes(blob)
    again = Spool(tmp_path, 1 << 20)
    assert records(again) == [b"aaaaaaaaaa", b"cccccccccc"]
    assert again.damaged == 1
    (aside,) = (tmp_path / "aside").iterdir()
    assert aside.read_bytes() == bytes(blob[22:44])
    again.append(b"d")
    assert [f.begin.number for f in again.waiting()] == [0, 2, 3]


@pytest.mark.parametrize(
    "position", [b"", b"\xff\xfe", b"0 -5", b"7 0", b"0 3", b"999999999999999999999 0", b"a b", b"1"]
)
def test_a_damaged_position_hands_everything_out_once_more(tmp_path, position):
    spool = Spool(tmp_path, 1 << 20)
    spool.append(b"a", b"b")
    spool.done(spool.peek(1))
    (tmp_path / "position").write_bytes(position)
    again = Spool(tmp_path, 1 << 20)
    assert records(again) == [b"a", b"b"]
    assert again.damaged == 1
    again.append(b"c")
    assert records(Spool(tmp_path, 1 << 20)) == [b"a", b"b", b"c"]


def test_what_is_set_aside_has_a_bound(tmp_path):
    spool = Spool(tmp_path, 10_000)
    for n in range(100):
        spool.set_aside(b"x" * 1000, f"{n}.damaged")
    assert sum(f.stat().st_size for f in (tmp_path / "aside").iterdir()) == 10_000


def test_numbers_go_on_after_everything_was_taken_and_over_a_restart(tmp_path):
    spool = Spool(tmp_path, 1 << 20)
    spool.append(b"a", b"b")
    spool.done(spool.peek())
    again = Spool(tmp_path, 1 << 20)
    assert again.next_number == 2
    assert again.append(b"c").number == 2


def test_only_its_user_reads_a_spool(tmp_path):
    folder = tmp_path / "spool"
    folder.mkdir(mode=0o755)
    spool = Spool(folder, 1 << 20)
    spool.append(b"a", b"b")
    spool.done(spool.peek(1))
    spool.set_aside(b"x", "x.damaged")
    assert {f.stat().st_mode & 0o077 for f in (folder, *folder.rglob("*"))} == {0}


def test_a_full_spool_drops_the_oldest_and_counts_it(tmp_path):
    dropped = []
    spool = Spool(
        tmp_path,
        4096 * 8,
        segment_bytes=4096,
        on_drop=lambda number, record: dropped.append((number, record)),
    )
    for i in range(100):
        spool.append(b"%04d" % i * 250)
    kept = records(spool)
    assert spool.dropped == len(dropped) == 100 - len(kept) > 0
    assert dropped == [(i, b"%04d" % i * 250) for i in range(100 - len(kept))]
    assert kept == [b"%04d" % i * 250 for i in range(100 - len(kept), 100)]
    assert spool.size_bytes <= 4096 * 8


def test_a_record_larger_than_the_spool_is_refused(tmp_path):
    spool = Spool(tmp_path, 4096)
    with pytest.raises(SpoolFull):
        spool.append(b"x" * 5000)
    spool.append(b"small")
    assert records(spool) == [b"small"]


def test_a_disk_without_room_is_told_and_leaves_nothing_half_written(tmp_path, monkeypatch):
    spool = Spool(tmp_path, 1 << 20)
    real = os.fsync

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SpoolFull):
        spool.append(b"lost")
    monkeypatch.setattr(os, "fsync", real)
    spool.append(b"kept")
    assert records(Spool(tmp_path, 1 << 20)) == [b"kept"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=60), st.integers(1, 4), st.none()), max_size=40))
def test_any_sequence_of_append_take_and_reopen_is_a_queue(tmp_path_factory, actions):
    folder = tmp_path_factory.mktemp("spool")
    spool = Spool(folder, 1 << 20, segment_bytes=100)
    expected: list[bytes] = []
    for action in actions:
        if action is None:
            spool = Spool(folder, 1 << 20, segment_bytes=100)
        elif isinstance(action, bytes):
            spool.append(action)
            expected.append(action)
        else:
            taken = spool.peek(1 << 20)[:action]
            assert [r for _, r in taken] == expected[:action]
            spool.done(taken)
            expected = expected[action:]
    assert records(spool) == expected
    assert len(spool) == len(expected)
