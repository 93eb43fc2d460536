import pytest

from domain.errors import ConfigurationError
from domain.secret import read_secret


def test_a_secret_comes_from_the_environment_or_a_file(monkeypatch, tmp_path):
    monkeypatch.setenv("HALLWATCH_TEST_SECRET", "from the environment")
    (tmp_path / "secret").write_text("from a file\n")
    assert read_secret("HALLWATCH_TEST_SECRET", None, "x.yaml", "password") == "from the environment"
    assert read_secret("", tmp_path / "secret", "x.yaml", "password") == "from a file"
    assert read_secret("", None, "x.yaml", "password") == ""


def test_one_that_is_named_and_not_there_is_an_error_that_says_which(tmp_path):
    with pytest.raises(ConfigurationError, match="password_env: the environment has no HALLWATCH_NONE"):
        read_secret("HALLWATCH_NONE", None, "x.yaml", "password")
    with pytest.raises(ConfigurationError, match=r"password_file: .*nowhere cannot be read"):
        read_secret("", tmp_path / "nowhere", "x.yaml", "password")
