"""No input makes a parser fail in a way that its caller does not expect: kept inputs, and random ones."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import fuzz

TARGETS = fuzz.load_targets()
KEPT = [(name, path) for name in TARGETS for path in fuzz.corpus(name)]


@pytest.mark.parametrize(("name", "path"), KEPT, ids=[f"{name}-{path.name}" for name, path in KEPT])
def test_kept_inputs_are_handled(name, path):
    TARGETS[name](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_bytes_and_damaged_inputs_are_handled(name, data):
    kept = fuzz.corpus(name)
    if kept and data.draw(st.booleans()):
        good = data.draw(st.sampled_from(kept)).read_bytes()[:65_536]
        at = data.draw(st.integers(0, len(good)))
        noise = data.draw(st.binary(max_size=16))
        TARGETS[name](good[:at] + noise + good[at + data.draw(st.integers(0, 8)) :])
    else:
        TARGETS[name](data.draw(st.binary(max_size=512)))


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_has_a_corpus(name):
    assert fuzz.corpus(name), f"put a few inputs, good and bad, into tests/fuzz/corpus/{name}/"
