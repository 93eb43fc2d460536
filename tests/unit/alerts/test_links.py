"""Links in messages: what they allow, how long, and by which keys they are signed."""

import json
import stat

import pytest

from alerts.oncall.links import LONGEST_TOKEN, MOST_KEYS, PLACE, ROTATE_MS, Answer, LinkKeys, Links
from domain.errors import LinkExpired, LinkRefused

HOUR = 3_600_000
LIFETIME = 24 * HOUR


class Made:
    def __init__(self, folder):
        self.now = 1_790_000_000_000
        self.folder = folder
        self.start()

    def start(self):
        self.keys = LinkKeys(self.folder, LIFETIME, lambda: self.now)
        self.links = Links(self.keys, "https://hall.example/", LIFETIME, lambda: self.now)

    def token(self, number=7, person="mei"):
        url = self.links.make(number, person)
        assert url.startswith(f"https://hall.example{PLACE}")
        return url.removeprefix(f"https://hall.example{PLACE}")

    @property
    def file(self):
        return self.folder / "links.secret"


@pytest.fixture
def made(tmp_path):
    return Made(tmp_path)


def test_a_link_is_for_one_alert_and_one_person_for_a_day_also_over_a_restart(made):
    token = made.token()
    made.start()
    assert made.links.read(token) == Answer(7, "mei", made.now + LIFETIME)
    made.now += LIFETIME - 1
    assert made.links.read(token).person == "mei"
    made.now += 1
    with pytest.raises(LinkExpired, match="has expired"):
        made.links.read(token)


def test_a_link_that_was_changed_or_is_another_sites_is_refused(made, tmp_path_factory):
    other = Made(tmp_path_factory.mktemp("other"))
    token = made.token()
    for number in range(len(token) - 1):  # the last character may hold bits that nobody reads
        changed = token[:number] + ("A" if token[number] != "A" else "B") + token[number + 1 :]
        with pytest.raises(LinkRefused):
            made.links.read(changed)
    for wrong in (
        "",
        "x",
        token.rpartition(".")[0],
        f"{token}.",
        "." * 50,
        "x" * (LONGEST_TOKEN + 1),
        other.token(),
    ):
        with pytest.raises(LinkRefused):
            made.links.read(wrong)
    assert made.links.read(token).alert_id == 7


def test_the_key_is_its_users_only_and_a_new_one_signs_after_a_week(made):
    old = made.token()
    assert stat.S_IMODE(made.file.stat().st_mode) == 0o600
    made.now += ROTATE_MS - HOUR
    late = made.token()
    made.now += 2 * HOUR
    new = made.token()
    assert len(json.loads(made.file.read_text())) == 2
    assert stat.S_IMODE(made.file.stat().st_mode) == 0o600
    # what the old key signed holds for as long as it was meant to
    assert made.links.read(late).person == made.links.read(new).person == "mei"
    with pytest.raises(LinkExpired):
        made.links.read(old)
    made.now += ROTATE_MS
    made.token()
    assert len(json.loads(made.file.read_text())) == 2  # the first is gone
    with pytest.raises(LinkRefused):
        made.links.read(late)


def test_another_process_on_the_same_folder_knows_the_newest_key(made):
    made.token()
    other = Made(made.folder)
    other.now = made.now + ROTATE_MS + HOUR
    token = other.token()
    made.now = other.now
    assert made.links.read(token).alert_id == 7


def test_a_file_that_cannot_be_read_or_was_open_to_others_gets_a_new_key_or_its_rights(made):
    token = made.token()
    made.file.chmod(0o644)
    made.start()
    made.links.read(token)
    assert stat.S_IMODE(made.file.stat().st_mode) == 0o600
    made.file.write_text("[[1790000")
    made.start()
    with pytest.raises(LinkRefused):
        made.links.read(token)
    made.links.read(made.token())


def test_a_clock_that_jumps_to_and_fro_piles_up_no_keys(made):
    for jump in (1, -1) * 10:
        made.now += jump * 400 * 86_400_000
        made.token()
    assert len(json.loads(made.file.read_text())) <= MOST_KEYS
