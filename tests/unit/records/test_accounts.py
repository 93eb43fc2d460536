"""People and partners: who gets in, and that nothing secret is kept in the clear."""

import time

import pytest

from domain.batch import now_ms
from domain.errors import InputError
from domain.pace import Pace
from domain.role import Role
from storage.accounts import FAILURES_LISTED, Accounts

pytestmark = pytest.mark.parametrize("url", ["sqlite"], indirect=True)  # hashing takes the time


@pytest.fixture
def accounts(records):
    return Accounts(records)


def test_a_right_password_lets_in_and_notes_the_login(accounts):
    accounts.add_user("mei", "correct horse")
    user = accounts.verify_password("mei", "correct horse")
    assert user is not None
    assert (user.name, user.role) == ("mei", "operator")
    assert user.last_login > 0


def test_a_wrong_password_an_unknown_name_and_a_locked_user_stay_out(accounts):
    accounts.add_user("mei", "correct horse")
    assert accounts.verify_password("mei", "wrong horse") is None
    assert accounts.verify_password("nobody", "correct horse") is None
    accounts.set_active("mei", False)
    assert accounts.verify_password("mei", "correct horse") is None


def test_a_new_password_replaces_the_old(accounts):
    accounts.add_user("mei", "correct horse")
    accounts.set_password("mei", "battery staple")
    assert accounts.verify_password("mei", "correct horse") is None
    assert accounts.verify_password("mei", "battery staple")


def test_a_taken_name_a_short_password_and_an_unknown_user_are_refused_with_words(accounts):
    accounts.add_user("mei", "correct horse")
    with pytest.raises(InputError, match="already"):
        accounts.add_user("mei", "another one")
    with pytest.raises(InputError, match="8 characters"):
        accounts.add_user("lin", "short")
    with pytest.raises(InputError, match="no user"):
        accounts.set_password("lin", "long enough")


def test_an_api_key_is_shown_once_and_known_again(accounts):
    key, record = accounts.add_api_key("Taipower")
    found = accounts.verify_api_key(key)
    assert found is not None
    assert (found.id, found.partner) == (record.id, "Taipower")
    accounts.note_use(found)
    assert accounts.api_keys()[0].last_used > 0


def test_revoked_expired_mangled_and_foreign_keys_are_refused(accounts):
    key, record = accounts.add_api_key("Taipower")
    old, _ = accounts.add_api_key("Old", expires=now_ms() - 1)
    assert accounts.verify_api_key(old) is None
    assert accounts.verify_api_key(key[:-1] + ("A" if key[-1] != "A" else "B")) is None
    assert accounts.verify_api_key("") is None
    assert accounts.verify_api_key("hw_zzz") is None
    accounts.revoke_api_key(record.prefix)
    assert accounts.verify_api_key(key) is None
    with pytest.raises(InputError, match="no API key"):
        accounts.revoke_api_key("deadbeef")


def test_whatever_changes_people_or_keys_is_in_the_audit_with_who_did_it(accounts, records):
    accounts.add_user("mei", "correct horse", by="root@hall")
    accounts.set_password("mei", "battery staple", by="root@hall")
    accounts.set_role("mei", Role.VIEWER, by="root@hall")
    accounts.set_active("mei", False, by="root@hall")
    accounts.set_active("mei", True, by="root@hall")
    _, key = accounts.add_api_key("Taipower", by="root@hall")
    accounts.revoke_api_key(key.prefix, by="root@hall")
    told = list(reversed(records.audit_trail()))
    assert {e.who for e in told} == {"root@hall"}
    assert [(e.what, e.detail) for e in told] == [
        ("added user", "mei as operator"),
        ("changed password of", "mei"),
        ("made viewer", "mei"),
        ("locked out", "mei"),
        ("let in again", "mei"),
        ("made API key", f"{key.prefix} for Taipower"),
        ("revoked API key", key.prefix),
    ]


def test_a_flood_of_failed_logins_does_not_fill_the_audit_and_is_told(accounts, records):
    accounts._failures = Pace(FAILURES_LISTED[0], 2, clock=lambda: clock[0])
    clock = [0.0]
    for _ in range(5):
        accounts.verify_password("mei", "guess", "192.0.2.1")
    assert len(records.audit_trail()) == 2
    clock[0] += 10
    accounts.verify_password("mei", "guess", "192.0.2.1")
    assert records.audit_trail()[0].detail == (
        "from 192.0.2.1: unknown name (and 3 more since the last that is listed)"
    )


@pytest.mark.parametrize("name", ["", "  ", "a\x00b", "a\nb", "x" * 201])
def test_a_name_is_plain_text(accounts, name):
    with pytest.raises(InputError, match="printable"):
        accounts.add_user(name, "correct horse")
    assert accounts.verify_password(name, "correct horse") is None


def test_a_key_that_another_process_revoked_is_refused_within_a_second(accounts, records, monkeypatch):
    key, record = accounts.add_api_key("Taipower")
    assert accounts.verify_api_key(key)
    Accounts(records).revoke_api_key(record.prefix)
    monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + 1.0)
    assert accounts.verify_api_key(key) is None


def test_neither_password_nor_key_lies_in_the_file(accounts, records, tmp_path):
    accounts.add_user("mei", "correct horse battery")
    key, _ = accounts.add_api_key("Taipower")
    records.close()
    content = b"".join(p.read_bytes() for p in tmp_path.iterdir())
    assert b"correct horse" not in content
    assert key.split("_", 2)[2].encode() not in content
