"""The secret that signs session cookies: its user's only, the same after a restart, never half of one."""

import stat

from service.web import SECRET_FILE, kept_secret


def test_the_secret_is_made_once_and_only_its_user_reads_it(tmp_path):
    first = kept_secret(tmp_path)
    assert len(first) >= 32
    assert kept_secret(tmp_path) == first
    assert stat.S_IMODE((tmp_path / SECRET_FILE).stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == [SECRET_FILE]


def test_a_secret_that_others_could_read_is_taken_away_from_them(tmp_path):
    first = kept_secret(tmp_path)
    (tmp_path / SECRET_FILE).chmod(0o644)
    assert kept_secret(tmp_path) == first
    assert stat.S_IMODE((tmp_path / SECRET_FILE).stat().st_mode) == 0o600


def test_half_a_secret_is_none(tmp_path):
    (tmp_path / SECRET_FILE).write_text("")
    assert len(kept_secret(tmp_path)) >= 32
