"""Lays files out in a Hugging Face cache exactly as the hub client lays out what it downloads.

    <HF_HOME>/hub/models--org--name/
        blobs/<sha256 of the content>
        refs/<branch>                      the commit that the branch points to
        snapshots/<commit>/<path>          a link to the blob

With HF_HUB_OFFLINE=1 every loader of the hub client then works as it does after a download.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

KINDS = {"model": "models", "dataset": "datasets"}


def commit_of(repo_id: str) -> str:
    """A made-up commit, forty hexadecimal digits, always the same for a repository."""
    return hashlib.sha1(f"stand-in {repo_id}".encode()).hexdigest()


class HubCache:
    """A cache folder below `home`, which is what HF_HOME is to be set to."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def add(
        self,
        repo_id: str,
        files: Mapping[str, bytes | str | Path],
        *,
        kind: str = "model",
        commit: str | None = None,
        refs: Sequence[str] = ("main",),
    ) -> Path:
        """Adds files of a repository at one commit, beside those that are there.

        Args:
            repo_id: "org/name" (or "name", for the oldest models).
            files: path in the repository -> content, or a file to copy.
            kind: "model" or "dataset".
            commit: Forty hexadecimal digits; made up if not given.
            refs: Branches that point to this commit ("refs/convert/parquet" is one too).

        Returns:
            The snapshot's folder.
        """
        commit = commit or commit_of(repo_id)
        folder = self.home / "hub" / "--".join([KINDS[kind], *repo_id.split("/")])
        snapshot = folder / "snapshots" / commit
        for name, content in files.items():
            raw = content.read_bytes() if isinstance(content, Path) else content
            raw = raw.encode("utf-8") if isinstance(raw, str) else raw
            self._link(snapshot / name, folder / "blobs" / hashlib.sha256(raw).hexdigest(), raw)
        for ref in refs:
            path = folder / "refs" / ref
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(commit, "utf-8")
        return snapshot

    def add_folder(self, repo_id: str, folder: Path, **options: object) -> Path:
        """Adds every file below `folder`; see `add`."""
        files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        return self.add(repo_id, files, **options)  # type: ignore[arg-type]

    def _link(self, path: Path, blob: Path, raw: bytes) -> None:
        blob.parent.mkdir(parents=True, exist_ok=True)
        if not blob.exists():
            blob.write_bytes(raw)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(Path(*[".."] * len(path.relative_to(blob.parent.parent).parts[:-1])) / "blobs" / blob.name)
