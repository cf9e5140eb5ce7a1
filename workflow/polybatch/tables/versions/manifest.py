"""What a version of the tables was made from, and the fingerprint that says whether two were made from the same.

inputs: the resolved config, code digests, data files, cards of encoders, translators and benchmarks, records of what
    was fetched, timings
outputs: the manifest as plain JSON values

The fingerprint covers what determines the results: config, code, data, packages, and the commits that revisions of
hub repositories stood for (a config may name a branch). Times, hardware and the git
commit are recorded beside it. No environment variable is read into it, keys and values that look like secrets are
removed, and absolute paths lose their home folder.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from polybatch.core.errors import DataError
from polybatch.core.files import sha256_file, sha256_text
from polybatch.retrieval import faiss_builds

REMOVED = "(removed)"
_ROOT = Path(__file__).resolve().parents[4]
# A tokenizer's special tokens are no secrets.
_SECRET_KEY = re.compile(
    r"^(?!(?:pad|cls|sep|unk|mask|bos|eos)_token$)(?:.*[_-])?"
    r"(?:token|password|passwd|secret|credentials?|api[_-]?key|access[_-]?key)$",
    re.I,
)
_SECRET_VALUE = re.compile(r"\b(hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|(?<=://)[^/\s:@]+:[^/\s@]+(?=@))")
_HOME = re.compile(r"(?<![\w./~-])(?:/(?:home|Users)/[^/\s]+|/root)(?=/|\s|$)")


def build(
    *,
    config: Mapping[str, Any],
    code_digests: Mapping[str, str],
    data: Iterable[Path | str],
    seeds: Sequence[int],
    encoders: Mapping[str, Any],
    translators: Mapping[str, Any],
    benchmarks: Mapping[str, Any] | None = None,
    records: Mapping[str, Any] | None = None,
    timings: Mapping[str, Any],
) -> dict[str, Any]:
    """The manifest of one version.

    Args:
        config: The resolved configuration.
        code_digests: Stage -> digest of its code.
        data: Files, or folders of them, that the results rest on; each file is hashed.
        seeds: The seeds of the study's trainings.
        encoders: Encoder -> its settings and its card.
        translators: {"languages": language -> cards of its two translators, "folders": translator -> its card}.
        benchmarks: Benchmark -> its card.
        records: Name -> record of a fetched repository or file.
        timings: Stage -> jobs and wall seconds.

    Raises:
        DataError: A data file is missing.
    """
    determining = {
        "config": scrub(config),
        "code": dict(code_digests),
        "data": hash_data(data),
        "packages": package_versions(),
        "revisions": {
            **revisions("encoder", encoders),
            **revisions("translator", translators),
            **revisions("benchmark", benchmarks or {}),
            **revisions("source", records or {}),
        },
    }
    manifest = {
        **determining,
        "fingerprint": fingerprint(determining),
        "git": git_state(),
        "seeds": sorted(seeds),
        "encoders": encoders,
        "translators": translators,
        "benchmarks": benchmarks or {},
        "records": {name: _without_folder(record) for name, record in (records or {}).items()},
        "hardware": hardware(),
        "timings": timings,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return scrub(manifest)


def fingerprint(determining: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical JSON of all that determines the results."""
    return sha256_text(json.dumps(determining, sort_keys=True, ensure_ascii=False))


def revisions(kind: str, cards: Mapping[str, Any]) -> dict[str, str]:
    """`<kind> <name>` -> the commit or SHA-256 that a card or record tells, at whatever depth; cards without any are
    left out."""
    return {f"{kind} {name}{place}": value for name, card in cards.items() for place, value in _commits(card) if value}


def _commits(card: Any, place: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(card, Mapping):
        for key, value in sorted(card.items()):
            if key in ("commit", "sha256") and isinstance(value, str):
                yield place, value
            else:
                yield from _commits(value, f"{place}.{key}")


def _without_folder(record: Any) -> Any:
    """A record without the place of its files on this machine."""
    return {key: value for key, value in record.items() if key != "folder"} if isinstance(record, Mapping) else record


def hash_data(files: Iterable[Path | str]) -> dict[str, str]:
    """Path (relative to the working folder where it lies below it) -> SHA-256; of a folder, all files in it."""
    digests: dict[str, str] = {}
    for path in map(Path, files):
        inside = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
        if not path.is_file() and not inside:
            raise DataError("A data file that the tables rest on is missing.", where=path)
        digests |= {portable_path(file): sha256_file(file) for file in inside or [path]}
    return digests


def portable_path(path: Path | str) -> str:
    """The path relative to the working folder; one outside it keeps its place but not the user's name."""
    absolute = Path(os.path.abspath(path))
    here = Path.cwd()
    return absolute.relative_to(here).as_posix() if absolute.is_relative_to(here) else _without_home(str(absolute))


def scrub(value: Any) -> Any:
    """A copy of JSON values without secrets and home folders."""
    if isinstance(value, Mapping):
        return {
            str(key): REMOVED if _SECRET_KEY.match(str(key)) and isinstance(item, str) else scrub(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [scrub(item) for item in value]
    if isinstance(value, str):
        return _without_home(_SECRET_VALUE.sub(REMOVED, value))
    return value


def _without_home(text: str) -> str:
    home = str(Path.home())
    if len(home) > 1:
        text = re.sub(rf"(?<![\w./~-]){re.escape(home)}(?=/|\s|$)", "~", text)
    return _HOME.sub("~", text)


def package_versions() -> dict[str, str]:
    """Versions of Python, of the packages that Polybatch names as dependencies, and of the FAISS that is installed."""
    versions = {"python": platform.python_version()}
    for name in _dependencies():
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not in this environment"
    return {**versions, **(faiss_builds.installed() or {"faiss": "not in this environment"})}


def _dependencies() -> list[str]:
    project = _ROOT / "pyproject.toml"
    if project.is_file():
        lines = tomllib.loads(project.read_text("utf-8"))["project"]["dependencies"]
    else:
        lines = [line for line in importlib.metadata.requires("polybatch") or [] if "extra ==" not in line]
    return sorted(re.split(r"[\s<>=!~;\[(]", line, maxsplit=1)[0] for line in lines)


def git_state() -> dict[str, Any]:
    """The commit of the checkout that this package lies in, and whether it has uncommitted changes."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return {"commit": None, "dirty": None}
    return {"commit": commit, "dirty": bool(_git("status", "--porcelain"))}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(_ROOT), *arguments], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def hardware() -> dict[str, Any]:
    """The machine that made the tables: processor, cores, memory in GiB, GPUs."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": _processor(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "gpus": _gpus(),
        "system": f"{platform.system()} {platform.release()}",
    }


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return platform.processor()
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.M)
    return match.group(1).strip() if match else platform.processor()


def _gpus() -> list[str]:
    tool = shutil.which("nvidia-smi")
    if not tool:
        return []
    try:
        done = subprocess.run(
            [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]
