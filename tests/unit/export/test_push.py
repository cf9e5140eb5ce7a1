"""Nothing leaves the machine but by an explicit word; what the hub's client says without a network is told plainly."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from huggingface_hub import constants

from polybatch.core.errors import ConfigError, DataError
from polybatch.export import push, target

TOKEN = "hf_" + "a" * 34


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/README.md").write_text("card", "utf-8")
    target.finish(tmp_path / "mine", {"run": "tiny"})
    return tmp_path / "mine"


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A client that believes in a network, with nobody logged in."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def test_a_dry_run_lists_all_that_would_be_sent(folder: Path) -> None:
    lines = list(push.listed(folder, "org/mine", public=False))
    assert lines[0].startswith("3 files") and "https://huggingface.co/org/mine (private if it is new)" in lines[0]
    assert [line.split()[-1] for line in lines[1:-1]] == ["README.md", "SHA256SUMS", "export.json"]
    assert lines[-1].startswith("Nothing was sent.")


@pytest.mark.parametrize("repo_id", ["mine", "org/my model", "a/b/c", "org/..", ""])
def test_the_name_of_a_repository_is_checked_first(repo_id: str) -> None:
    with pytest.raises(ConfigError, match="names no repository"):
        push.require_repository(repo_id, publish=False)


def test_to_publish_needs_a_login(online: None) -> None:
    push.require_repository("org/mine", publish=False)
    with pytest.raises(ConfigError, match="hf auth login"):
        push.require_repository("org/mine", publish=True)


def test_an_offline_client_is_told_before_anything_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match="HF_HUB_OFFLINE"):
        push.require_repository("org/mine", publish=True)


def test_the_hubs_refusal_is_told_without_the_token(
    folder: Path, online: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    push.require_repository("org/mine", publish=True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="OfflineModeIsEnabled") as told:
        push.publish(folder, "org/mine", public=False)
    assert TOKEN not in str(told.value)
    assert "the exported folder is whole" in str(told.value)


def test_only_a_whole_export_is_sent(folder: Path, tmp_path: Path) -> None:
    (folder / "README.md").write_text("other words", "utf-8")
    with pytest.raises(DataError, match="another content"):
        push.publish(folder, "org/mine", public=False)
    with pytest.raises(DataError, match="is no export"):
        push.publish(tmp_path, "org/mine", public=False)


def test_a_hub_that_cannot_be_reached_is_told(folder: Path, online: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's HTTP library raises errors of its own where nothing answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")  # bound: no one listens
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        with pytest.raises(DataError, match=r"(?s)did not take the export.*ConnectError") as told:
            push.publish(folder, "org/mine", public=False)
    assert TOKEN not in str(told.value)
