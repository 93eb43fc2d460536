"""When devices are polled, and how counters become rates."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

import collectors.snmp
from collectors.snmp.collector import breaker_wait, first_offset
from collectors.snmp.rates import Counter
from collectors.snmp.settings import Credentials, Polling, SnmpSettings
from domain.errors import ConfigurationError


def test_polls_spread_over_the_interval_the_same_at_each_start():
    offsets = [first_offset(f"R{n:03}-PDU-{side}") for n in range(1, 97) for side in "AB"]
    assert offsets == [first_offset(f"R{n:03}-PDU-{side}") for n in range(1, 97) for side in "AB"]
    tenths = [sum(int(10 * o) == t for o in offsets) for t in range(10)]
    assert max(tenths) < 2 * len(offsets) / 10


def test_a_device_that_stays_silent_is_asked_ever_more_rarely_up_to_a_limit():
    polling = Polling(interval=10, breaker_after=3, breaker_longest=300)
    waits = [breaker_wait(failures, polling, chance=lambda: 0.5) for failures in range(3, 12)]
    assert waits == [10, 20, 40, 80, 160, 300, 300, 300, 300]
    assert breaker_wait(3, polling, chance=lambda: 1.0) > breaker_wait(3, polling, chance=lambda: 0.0)


def test_a_counter_becomes_a_rate():
    counter = Counter(32)
    assert counter.rate(1000, 0) is None
    assert counter.rate(3000, 2000) == 1000.0


def test_a_counter_that_wraps_goes_on():
    counter = Counter(32)
    counter.rate(2**32 - 500, 0)
    assert counter.rate(500, 1000) == 1000.0


def test_a_counter_that_was_reset_tells_no_rate_once():
    counter = Counter(64)
    counter.rate(10**12, 0)
    assert counter.rate(100, 1000) is None
    assert counter.rate(300, 2000) == 200.0


def test_the_sample_configuration_loads():
    sample = Path(collectors.snmp.__file__).with_name("sample.yaml")
    settings = SnmpSettings.model_validate(yaml.safe_load(sample.read_text()))
    assert settings.targets[0].serves == ("R001",)
    readme = sample.with_name("README.md").read_text()
    assert sample.read_text() in readme, "the README shows another sample"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"version": "3"}, "needs a user"),
        ({"version": "3", "user": "u", "priv": "AES", "priv_env": "P"}, "needs authentication"),
        ({"version": "3", "user": "u", "auth": "SHA256"}, "auth_env"),
        ({"community": "public"}, "community"),
    ],
)
def test_incomplete_credentials_are_told_what_is_missing(wrong, told):
    with pytest.raises(ValidationError, match=told):
        Credentials.model_validate(wrong)


def test_a_missing_secret_names_the_variable(monkeypatch):
    monkeypatch.delenv("NOT_THERE", raising=False)
    with pytest.raises(ConfigurationError, match="NOT_THERE"):
        Credentials(community_env="NOT_THERE").secrets()


def test_secrets_do_not_show():
    assert "hush" not in repr(
        Credentials().secrets().model_copy(update={"community": "hush", "auth_key": "hush"})
    )


def test_two_devices_of_one_name_are_refused():
    with pytest.raises(ValidationError, match="two devices"):
        SnmpSettings.model_validate({"targets": [{"host": "a"}, {"host": "b", "object_id": "a"}]})
