"""Repositories of the Hugging Face hub: fetched by one stage, read from the cache by all others.

inputs: a repository's id, kind and revision, and which of its files are wanted
outputs: a record (JSON): the commit that the revision was resolved to, and where the hub client keeps the files

Files stay where the hub client puts them (HF_HOME), under a commit, and are never copied. A revision is a commit
(forty hexadecimal digits) or a branch. A branch can move: the commit that it was first resolved to is kept in
`<revisions>/<kind>--<org>--<name>--<revision>.json`, and a fetch that finds another one is an error, not a silent
change of the data. With HF_HUB_OFFLINE=1 nothing but the cache is looked at.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from polybatch.core import stage
from polybatch.core.addresses import without_secrets
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_json, write_json

KINDS = ("model", "dataset")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# As the hub's client has it (huggingface_hub.utils.validate_repo_id), and what git allows in the name of a branch
# (git-check-ref-format) as far as anybody uses it: both name folders here.
_REPO = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*/)?[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*", re.ASCII)
_OFFLINE = "connect the machine, or fetch on one that is (`snakemake prefetch`) and copy HF_HOME here"


def id_faults(repo_id: str, revision: str) -> Iterator[str]:
    """What is wrong with the shape of a repository's id or revision, in words; nothing if they may well exist.

    Args:
        repo_id: "org/name", or the "name" of a model from before there were organisations.
        revision: A commit, or a branch such as "main" or "refs/convert/parquet".
    """
    words = ("--", "..")
    if not _REPO.fullmatch(repo_id) or any(w in repo_id for w in words) or repo_id.endswith((".", "-", ".git")):
        yield f"{repo_id!r} is no id of the hub; one looks like org/name, of letters, digits and single - _ ."
    if not _REVISION.fullmatch(revision) or ".." in revision or revision.endswith((".", ".lock")):
        yield f"{revision!r} is no revision; one is a commit (forty hexadecimal digits) or a branch such as refs/pr/4"


@dataclass(frozen=True)
class Snapshot:
    """Files of one repository at one commit.

    Attributes:
        repo_id, kind: "org/name"; "model" or "dataset".
        revision: What was asked for: a commit or a branch.
        commit: What it was, forty hexadecimal digits.
        folder: Where the files are.
        patterns: Which files were fetched; empty for all.
    """

    repo_id: str
    kind: str
    revision: str
    commit: str
    folder: Path
    patterns: tuple[str, ...] = ()

    def files(self, *patterns: str) -> list[Path]:
        """The files that match any of the shell patterns, sorted by name.

        Raises:
            DataError: None does; the message lists what there is.
        """
        names = sorted(p.relative_to(self.folder).as_posix() for p in self.folder.rglob("*") if p.is_file())
        found = [name for name in names if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]
        if not found:
            raise DataError(
                f"The {self.kind} {self.repo_id} does not hold the files that are read from it.",
                where=f"{self.repo_id}@{self.commit[:12]}",
                expected=" or ".join(patterns),
                found=", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "") or "no file",
                remedy="its layout has changed: pin the revision that had these files, or name the new ones",
            )
        return [self.folder / name for name in found]


def fetch(
    repo_id: str, kind: str, revision: str, patterns: Sequence[str] = (), revisions: Path | None = None
) -> Snapshot:
    """Downloads a repository's files, or finds them in the cache.

    Args:
        repo_id: "org/name".
        kind: "model" or "dataset".
        revision: A commit, or a branch such as "main" or "refs/convert/parquet".
        patterns: Shell patterns of the files wanted; all files if empty.
        revisions: Folder where the commits of branches are kept; None keeps none.

    Raises:
        ConfigError: There is no such repository or revision, or it is gated and the user has no access.
        DataError: The hub is not reachable and the files are not in the cache; or a branch has moved.
    """
    from huggingface_hub import snapshot_download

    with _Told(repo_id, kind, revision):
        folder = Path(
            snapshot_download(repo_id, repo_type=kind, revision=revision, allow_patterns=list(patterns) or None)
        )
    snapshot = Snapshot(repo_id, kind, revision, folder.name, folder, tuple(patterns))
    if patterns:
        snapshot.files(*patterns)
    if revisions is not None and not _COMMIT.fullmatch(revision):
        _hold_to(snapshot, revisions)
    return snapshot


def _hold_to(snapshot: Snapshot, revisions: Path) -> None:
    """Keeps the commit of a branch, or raises a DataError if it is no longer the one that was kept."""
    name = "--".join([snapshot.kind, *f"{snapshot.repo_id}/{snapshot.revision}".split("/")])
    path = revisions / f"{name}.json"
    if not path.exists():
        stage.log.warning(
            "%s is not pinned: %s is %s today. Write revision: %s into the config to keep it.",
            snapshot.repo_id,
            snapshot.revision,
            snapshot.commit[:12],
            snapshot.commit,
        )
        write_json(path, {"commit": snapshot.commit})
        return
    kept = read_json(path)["commit"]
    if kept != snapshot.commit:
        raise DataError(
            f"The revision {snapshot.revision} of {snapshot.repo_id} has moved.",
            where=path,
            expected=kept,
            found=snapshot.commit,
            remedy=f"write revision: {kept} into the config to go on with the files used so far; "
            f"to take the new ones, review them, delete {path} and run again",
        )


class _Told:
    """Turns what the hub client raises into errors that name the repository and the remedy."""

    def __init__(self, repo_id: str, kind: str, revision: str) -> None:
        self.repo_id, self.kind, self.revision = repo_id, kind, revision

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        from huggingface_hub import errors

        if not isinstance(error, (errors.HfHubHTTPError, OSError, errors.HTTPError, errors.HFValidationError)):
            return
        where = f"{self.kind} {self.repo_id}, revision {self.revision}"
        first = without_secrets(next(iter(str(error).splitlines()), type(error).__name__))
        if isinstance(error, errors.GatedRepoError):
            raise ConfigError(
                f"The {self.kind} {self.repo_id} is gated.",
                where=where,
                found=first,
                remedy=f"accept its terms at hf.co/{'datasets/' * (self.kind == 'dataset')}{self.repo_id} and log in "
                "(`hf auth login`), or name another one in the config",
            ) from error
        if isinstance(error, errors.RevisionNotFoundError):
            raise ConfigError(
                f"The {self.kind} {self.repo_id} has no revision {self.revision}.",
                where=where,
                remedy="correct the revision in the config; a commit is forty hexadecimal digits",
            ) from error
        if isinstance(error, (errors.RepositoryNotFoundError, errors.HFValidationError)):
            raise ConfigError(
                f"There is no {self.kind} {self.repo_id} on the hub, or it is private.",
                where=where,
                found=first,
                remedy="correct its id in the config; for a private one log in (`hf auth login`)",
            ) from error
        if isinstance(error, (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled)):
            raise DataError(
                f"The {self.kind} {self.repo_id} is not in the cache, and the hub cannot be reached.",
                where=where,
                expected="the files of this revision below HF_HOME, or a connection",
                found="offline (HF_HUB_OFFLINE is set)" if _is_offline() else first,
                remedy=f"{_OFFLINE}; if the cache holds another revision, name that one in the config",
            ) from error
        if isinstance(error, (errors.HfHubHTTPError, errors.HTTPError)):
            raise DataError(
                f"The {self.kind} {self.repo_id} could not be fetched.", where=where, found=first, remedy=_OFFLINE
            ) from error


def _is_offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def write_record(path: Path, snapshot: Snapshot) -> None:
    """Writes what `read_record` reads."""
    write_json(path, {**asdict(snapshot), "folder": str(snapshot.folder)})


def read_record(path: Path) -> Snapshot:
    """A snapshot that `fetch` found earlier.

    Raises:
        DataError: Its files are no longer where they were.
    """
    record = read_json(path)
    names = [field.name for field in fields(Snapshot)]
    values = {name: record[name] for name in names}
    snapshot = Snapshot(**{**values, "folder": Path(values["folder"]), "patterns": tuple(values["patterns"])})
    if not snapshot.folder.is_dir():
        raise DataError(
            f"The files of {snapshot.repo_id} are no longer in the hub's cache.",
            where=snapshot.folder,
            remedy=f"delete {path} and run `snakemake prefetch`, with the same HF_HOME",
        )
    return snapshot
