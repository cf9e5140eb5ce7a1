"""Secrets that stand in a configuration: passwords, and values in the queries of addresses.

inputs: a configuration as the user wrote it
outputs: an error that names every key that holds one, and shows none

A configuration is printed, kept and reported by Snakemake and by us in many places. So it holds no secret to begin
with: this is looked at before anything else, because other faults quote what they find.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from polybatch.core.addresses import REMEDY, secrets_in
from polybatch.core.errors import ConfigError


def require_no_secrets(config: Any) -> None:
    """Raises a ConfigError that names every key, at whatever depth, with a secret in an address."""
    faults = list(_faults(config, ()))
    if faults:
        raise ConfigError(
            f"The configuration holds {len(faults)} secret(s), and would hand them on to logs, records and reports.",
            found="\n".join(faults).replace("\n", "\n    "),
            remedy=REMEDY,
        )


def _faults(value: Any, path: tuple[str, ...]) -> Iterator[str]:
    if isinstance(value, dict):
        for key, child in value.items():
            found = list(secrets_in(str(key)))
            yield from (f"{'.'.join(path) or 'the configuration'}, a key: {fault}" for fault in found)
            yield from _faults(child, (*path, "***" if found else str(key)))
    elif isinstance(value, (list, tuple)):
        for number, child in enumerate(value):
            yield from _faults(child, (*path, str(number)))
    elif isinstance(value, str):
        yield from (f"{'.'.join(path)}: {fault}" for fault in secrets_in(value))
