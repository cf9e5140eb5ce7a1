"""Sends an exported folder to the Hugging Face hub: only where the user says so in so many words.

inputs: an exported folder, the name of a repository
outputs: without `--yes-publish` the list of what would be sent, on the terminal; with it a repository of the hub with
one commit more

The token is that of the hub's own client (`hf auth login`, or HF_TOKEN). It is looked up to see that there is one, and
to take it out of messages; it is never printed. This has not been run against the hub itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from polybatch.core.addresses import without_secrets
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.hub import id_faults
from polybatch.core.sums import check_sums
from polybatch.export.target import RECORD


def require_repository(repo_id: str, *, publish: bool) -> None:
    """Raises a ConfigError unless something can be sent to this repository, before anything is made.

    Args:
        repo_id: "org/name".
        publish: Whether it is to be sent, for which a token must be there.
    """
    faults = list(id_faults(repo_id, "main"))
    if faults or "/" not in repo_id:
        raise ConfigError(
            "--push names no repository of the hub.",
            expected="org/name, of letters, digits and single - _ .",
            found=repo_id,
        )
    if not publish:
        return
    from huggingface_hub import constants, get_token

    if constants.is_offline_mode():
        raise ConfigError(
            "The hub's client is set to work without a network.",
            expected="HF_HUB_OFFLINE not set",
            found="HF_HUB_OFFLINE=1",
            remedy="unset it, or leave --yes-publish out: what would be sent is listed then",
        )
    if not get_token():
        raise ConfigError(
            "There is no token for the hub.",
            expected="a login of the hub's own client",
            found="none",
            remedy="run `hf auth login` with a token that may write, or set HF_TOKEN",
        )


def listed(folder: Path, repo_id: str, *, public: bool) -> Iterator[str]:
    """What would be sent, a line each."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    total = sum(path.stat().st_size for path in files)
    kind = "public" if public else "private"
    where = f"https://huggingface.co/{repo_id} ({kind} if it is new)"
    yield f"{len(files)} files, {total / 1e6:.1f} MB, would go to {where}:"
    for path in files:
        yield f"  {path.stat().st_size:>12,}  {path.relative_to(folder).as_posix()}"
    yield "Nothing was sent. To send it, give --yes-publish too."


def publish(folder: Path, repo_id: str, *, public: bool) -> str:
    """Makes the repository if it is not there, and sends the folder as one commit.

    Args:
        folder: An export, whole.
        repo_id: "org/name".
        public: Whether a new repository is open to all; one that is there stays as it is.

    Returns:
        The commit's address.

    Raises:
        DataError: The folder is no export or was changed since it was written; the hub refuses it or cannot be reached.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    # Where there is no answer at all, the client lets through what its HTTP library raises: a base of its own errors,
    # of whichever library that is.
    of_http = tuple(base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception))
    refusals: tuple[type[Exception], ...] = (HfHubHTTPError, OfflineModeIsEnabled, OSError, *of_http)

    if not (folder / RECORD).is_file() or check_sums(folder) is None:
        raise DataError("The folder is no export.", where=folder, expected=RECORD)
    api = HfApi()
    try:
        api.create_repo(repo_id, repo_type="model", private=not public, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo_id, folder_path=folder, repo_type="model", commit_message="Exported by Polybatch"
        )
    except refusals as error:
        raise DataError(
            "The hub did not take the export.",
            where=f"https://huggingface.co/{repo_id}",
            found=without_secrets(
                f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}", {"token": get_token() or "-"}
            ),
            remedy="the exported folder is whole: mend this, then run the same command again",
        ) from error
    return str(commit.commit_url)
