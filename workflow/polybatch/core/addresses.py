"""Addresses that a user writes: which are safe to fetch, how they are shown, and how they come by their secrets.

A password or token never stands in an address. In its place stands the name of an environment variable,
`https://${USER}:${PASSWORD}@host/file?token=${TOKEN}`, which the fetching process alone looks up. So the config, the
commands that Snakemake prints and keeps, its report, records and manifests have no secret to hide: they hold the
address as it was written. A secret that is written out is refused before anything is computed (`secrets_in`).

What a library says may still quote an address with its secrets filled in: `without_secrets` takes them out.
"""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Iterator, Mapping

from polybatch.core.errors import ConfigError

REMEDY = (
    "put it into an environment variable and write ${NAME} in its place, as in "
    "https://${USER}:${PASSWORD}@host/file?token=${TOKEN} (docs/prefetch.md)"
)
HIDDEN = "***"

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*:)?/{1,2}")
_FLAGS = ("", "0", "1", "true", "false")  # a query's values that are too short to be a secret
_PORT = re.compile(r"[^:]*(:\d*)?|\[[0-9a-fA-F:.]*\](:\d*)?")
_LOGIN = re.compile(r"[^\s/@:?#]+:[^\s@]*@\S")  # user:password@, with a scheme before it or without
_QUERY = re.compile(r"\?[^\s=&]+=")
_NOT_SPACE = re.compile(r"[^\s'\"<>]+")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]*")
_NOT_OF_ADDRESSES = re.compile(r"[^\x21-\x7e]")
_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


def is_safe(url: str) -> bool:
    """Whether an address can be fetched: https, or plain http from this machine."""
    try:
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or "$" in host or _NOT_OF_ADDRESSES.search(url):
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and host in _THIS_MACHINE)


def address_faults(url: str) -> Iterator[str]:
    """Why an address cannot be fetched, in words that show no secret."""
    if not is_safe(url):
        yield f"{redacted(url)!r} is no https address"
    if "#" in url:
        yield f"{redacted(url)!r} has a fragment (#...), which is never sent"
    yield from secrets_in(url)


def secrets_in(text: str) -> Iterator[str]:
    """What of the addresses in a text must not stand there, in words that do not show it."""
    for word in _NOT_SPACE.findall(text):
        login = _LOGIN.search(word)
        if "://" in word or _QUERY.search(word) or (login and not login[0].lower().startswith("mailto:")):
            yield from _secrets_of(word)


def _secrets_of(address: str) -> Iterator[str]:
    _, login, _, _, query, _ = _parts(address)
    if any(part and not _REFERENCE.fullmatch(part) for part in login.split(":", 1)):
        yield f"{redacted(address)} holds a user or password"
    for name, value in query:
        if value not in _FLAGS and not _REFERENCE.fullmatch(value):
            yield f"{redacted(address)} holds a value in its query" + (f" ({name})" if name else "")


def redacted(address: str) -> str:
    """An address as it may be shown: without user, password and fragment, and without the values of its query.

    References (`${NAME}`) are left as they are.
    """
    scheme, login, host, path, query, _ = _parts(address)
    shown = [f"{name}{'=' if name else ''}{_shown(value)}" for name, value in query]
    user = ":".join(map(_shown, login.split(":", 1))) + "@" if login else ""
    return f"{scheme}{user}{host}{path}" + ("?" + "&".join(shown) if query else "")


def _shown(value: str) -> str:
    return value if value in _FLAGS or _REFERENCE.fullmatch(value) else HIDDEN


def _parts(address: str) -> tuple[str, str, str, str, list[tuple[str, str]], str]:
    """(scheme, login, host, path, query, fragment); what a slash, `?` or `#` in a password cuts off is login too."""
    scheme = match[0] if (match := _SCHEME.match(address)) else ""
    rest = address[len(scheme) :]
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    if "@" in rest and ("@" in authority or not _PORT.fullmatch(authority)):
        login, _, rest = rest.rpartition("@") if "@" not in authority else _at_host(rest, authority)
    elif not _PORT.fullmatch(authority):
        login, rest = authority, rest[len(authority) :]  # a password without its host
    else:
        login = ""
    place, _, fragment = rest.partition("#")
    place, _, asked = place.partition("?")
    host, slash, path = place.partition("/")
    pairs = [part.partition("=") for part in re.split("[&;]", asked)] if asked else []
    return scheme, login, host, slash + path, [(n, v) if eq else ("", n) for n, eq, v in pairs], fragment


def _at_host(rest: str, authority: str) -> tuple[str, str, str]:
    login, at, host = authority.rpartition("@")
    return login, at, host + rest[len(authority) :]


def resolved(address: str) -> tuple[str, dict[str, str]]:
    """An address with its references looked up in the environment, and the values by name.

    A value is percent-encoded: wholly in user and password; in the query but for "%", as it may be encoded already.
    A reference that is a query's whole part (`?${SIGNED}`) is put in as it is.

    Raises:
        ConfigError: A variable is not set, or is empty.
    """
    names = list(dict.fromkeys(_REFERENCE.findall(address)))
    values = {name: os.environ.get(name, "") for name in names}
    missing = [name for name, value in values.items() if not value]
    if missing:
        raise ConfigError(
            "An address names environment variables that are not set.",
            where=redacted(address),
            expected=", ".join(missing),
            remedy="set them where Snakemake is started",
        )
    place, asks, query = address.partition("?")
    place = _REFERENCE.sub(lambda match: urllib.parse.quote(values[match[1]], safe=""), place)
    parts = [_with_values(part, values) for part in query.split("&")]
    return place + asks + "&".join(parts), values


def _with_values(part: str, values: Mapping[str, str]) -> str:
    if whole := _REFERENCE.fullmatch(part):
        return values[whole[1]]
    return _REFERENCE.sub(lambda match: urllib.parse.quote(values[match[1]], safe="%"), part)


def without_secrets(text: str, values: Mapping[str, str] | None = None) -> str:
    """Text of a library or another program, which may quote addresses, or the `values` of references."""
    for name, value in sorted((values or {}).items(), key=lambda item: -len(item[1])):
        for spelt in (value, urllib.parse.quote(value, safe=""), urllib.parse.quote(value, safe="%")):
            text = text.replace(spelt, f"${{{name}}}")
    return _ADDRESS.sub(lambda match: redacted(match[0]), text)
