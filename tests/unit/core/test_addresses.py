"""Addresses hold references to secrets, never secrets; whatever is shown of them hides what slipped in."""

from __future__ import annotations

import pytest

from polybatch.core.addresses import is_safe, redacted, resolved, secrets_in, without_secrets
from polybatch.core.errors import ConfigError

REFERRING = "https://${ME}:${PW}@host/${DIR}/x.zip?token=${TOKEN}&download=1"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://me:s3cret@host/x", "https://***:***@host/x"),
        ("https://s3cret@host/x", "https://***@host/x"),
        ("https://${ME}:s3cret@host/x", "https://${ME}:***@host/x"),
        ("https://me:s3/cr@et@host:8080/x", "https://***:***@host:8080/x"),
        ("https://me:s3?cret@host/x", "https://***:***@host/x"),
        ("https://me:s3#cret@host/x", "https://***:***@host/x"),
        ("https:/me:s3cret@host/x", "https:/***:***@host/x"),
        ("//me:s3cret@host/x", "//***:***@host/x"),
        ("me:s3cret@host/x", "***:***@host/x"),
        ("https://me:s3cret", "https://***:***@"),
        ("https://host/x?token=s3cret", "https://host/x?token=***"),
        ("host/x?token=s3cret", "host/x?token=***"),
        ("https://host/x?s3cret", "https://host/x?***"),
        ("https://host/x?a=1&b=s3cret;c=s3cret", "https://host/x?a=1&b=***&c=***"),
        ("https://host/x?token=${T}s3cret", "https://host/x?token=***"),
    ],
)
def test_a_secret_is_found_and_not_shown(address: str, shown: str) -> None:
    assert redacted(address) == shown
    for text in (address, f"fetched from '{address}', twice", f"name @ {address}"):
        faults = list(secrets_in(text))
        assert faults
        assert "s3" not in " ".join(faults)


@pytest.mark.parametrize(
    "text",
    [
        REFERRING,
        "https://host/x.zip?raw=true",
        "https://host:8080/@user/x",
        "https://[::1]:8080/x",
        "Apache-2.0 (https://www.apache.org/licenses/LICENSE-2.0#terms)",
        "mailto:me@host.org",
        "query: what is this? x = 1",
        "refs/convert/parquet",
        "Instruct: find it\nQuery: ",
        "a/{b}/c",
    ],
)
def test_what_holds_no_secret_is_left_alone(text: str) -> None:
    assert list(secrets_in(text)) == []


def test_references_are_looked_up_and_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ME": "me@x", "PW": "p:w/?#", "DIR": "a b", "TOKEN": "t+o%2Fk&n"}.items():
        monkeypatch.setenv(name, value)
    address, values = resolved(REFERRING)
    assert address == "https://me%40x:p%3Aw%2F%3F%23@host/a%20b/x.zip?token=t%2Bo%2Fk%26n&download=1"
    assert is_safe(REFERRING)
    assert is_safe(address)
    monkeypatch.setenv("SIGNED", "sig=a%2Fb&until=9")
    assert resolved("https://host/x?${SIGNED}")[0] == "https://host/x?sig=a%2Fb&until=9"
    told = without_secrets(f"{address} refused the password p:w/?# and t+o%2Fk&n", values)
    assert told == f"{REFERRING} refused the password ${{PW}} and ${{TOKEN}}"


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ME", "me")
    monkeypatch.setenv("PW", "")
    with pytest.raises(ConfigError, match=r"PW, DIR, TOKEN"):
        resolved(REFERRING)


@pytest.mark.parametrize("url", ["http://host/x", "ftp://host/x", "https:///x", "https://${HOST}/x", "https://host:x/"])
def test_what_cannot_be_fetched_safely(url: str) -> None:
    assert not is_safe(url)
    assert is_safe("http://127.0.0.1:80/x")
