"""[mqtt]: what is refused, and where the broker's password comes from."""

import pytest

from tests.config.conftest import GOOD
from tradingd.config import ConfigError
from tradingd.config.credentials import load_mqtt_password

PASSWORD = "a phrase with blanks"
MQTT = GOOD + "[mqtt]\nenabled = true\n"
NAMED = MQTT + 'username = "trader"\n'


def test_a_password_in_the_file_is_refused_and_not_shown(refused):
    text = refused(MQTT + f'password = "{PASSWORD}"\n')
    assert "mqtt.password looks like a secret" in text and "mqtt_password" in text
    assert PASSWORD not in text


@pytest.mark.parametrize(
    ("lines", "word"),
    [
        ('ca_file = "ca.pem"', "mqtt.ca_file"),
        ('password_file = "p"', "mqtt.password_file"),
        ('topic = "tradingd/#"', "mqtt.topic"),
        ('host = "mqtt://broker"', "mqtt.host"),
        ("port = 0", "mqtt.port"),
    ],
)
def test_what_cannot_work_is_refused_by_its_name(refused, lines, word):
    assert word in refused(MQTT + lines + "\n")


def test_without_a_name_or_without_mqtt_no_password_is_read(load):
    environ = {"TRADINGD_MQTT_PASSWORD": PASSWORD}
    assert load_mqtt_password(load(MQTT), environ) is None
    assert load_mqtt_password(load(NAMED.replace("true", "false")), environ) is None


def test_the_credential_goes_before_the_file_and_the_file_before_the_variable(load, tmp_path):
    settings = load(NAMED + 'password_file = "secret"\n')
    directory, file = tmp_path / "credentials", tmp_path / "secret"
    directory.mkdir()
    (directory / "mqtt_password").write_text("of systemd\n")
    file.write_text("of the file\n")
    file.chmod(0o600)
    environ = {"CREDENTIALS_DIRECTORY": str(directory), "TRADINGD_MQTT_PASSWORD": PASSWORD}
    found = load_mqtt_password(settings, environ)
    assert found is not None and found.secret.reveal() == "of systemd" and not found.warnings
    (directory / "mqtt_password").unlink()
    found = load_mqtt_password(settings, environ)
    assert found is not None and found.secret.reveal() == "of the file"
    found = load_mqtt_password(load(NAMED), environ)
    assert found is not None and found.secret.reveal() == PASSWORD and "/proc" in found.warnings[0]


@pytest.mark.parametrize("content", ["", "abc\n", "two\nlines of text\n"])
def test_a_password_that_cannot_be_one_is_refused_and_not_shown(load, tmp_path, content):
    file = tmp_path / "secret"
    file.write_text(content)
    file.chmod(0o600)
    with pytest.raises(ConfigError) as caught:
        load_mqtt_password(load(NAMED + 'password_file = "secret"\n'), {})
    assert "MQTT password" in str(caught.value) and "two" not in str(caught.value)


def test_a_password_that_others_may_read_or_that_is_nowhere_is_refused(load, tmp_path):
    file = tmp_path / "secret"
    file.write_text(PASSWORD)
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="0600"):
        load_mqtt_password(load(NAMED + 'password_file = "secret"\n'), {})
    with pytest.raises(ConfigError, match="there is no password"):
        load_mqtt_password(load(NAMED), {})
