"""Repositories in a cache laid out as the hub's client lays it out, and every way in which they cannot be had."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hub_cache import HubCache, commit_of

from polybatch.core.errors import ConfigError, DataError

REPO = "some-org/some-data"
OTHER = "b" * 40


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HubCache:
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    cache = HubCache(tmp_path)
    cache.add(REPO, {"README.md": "card", "data/train-0.parquet": b"x"}, kind="dataset")
    return cache


def fetch(*arguments: Any) -> Any:
    from polybatch.core.hub import fetch

    return fetch(*arguments)


def test_a_branch_is_resolved_to_its_commit(cache: HubCache) -> None:
    snapshot = fetch(REPO, "dataset", "main", ["data/*.parquet"])
    assert snapshot.commit == commit_of(REPO)
    assert [path.name for path in snapshot.files("data/train-*.parquet")] == ["train-0.parquet"]


def test_a_record_leads_back_to_the_files(cache: HubCache, tmp_path: Path) -> None:
    from polybatch.core.hub import read_record, write_record

    record = tmp_path / "record.json"
    write_record(record, fetch(REPO, "dataset", "main", ["data/*"]))
    assert read_record(record) == fetch(REPO, "dataset", "main", ["data/*"])


def test_a_record_whose_files_are_gone_names_the_remedy(cache: HubCache, tmp_path: Path) -> None:
    import shutil

    from polybatch.core.hub import read_record, write_record

    write_record(tmp_path / "record.json", fetch(REPO, "dataset", "main"))
    shutil.rmtree(tmp_path / "hub")
    with pytest.raises(DataError, match="snakemake prefetch"):
        read_record(tmp_path / "record.json")


def test_a_branch_that_moved_is_an_error_and_says_both_commits(cache: HubCache, tmp_path: Path) -> None:
    fetch(REPO, "dataset", "main", [], tmp_path / "revisions")
    fetch(REPO, "dataset", "main", [], tmp_path / "revisions")
    cache.add(REPO, {"README.md": "another card"}, kind="dataset", commit=OTHER)
    with pytest.raises(DataError, match="has moved") as caught:
        fetch(REPO, "dataset", "main", [], tmp_path / "revisions")
    assert caught.value.expected == commit_of(REPO)
    assert caught.value.found == OTHER
    # The commit kept so far still works when it is named.
    assert fetch(REPO, "dataset", commit_of(REPO), [], tmp_path / "revisions").commit == commit_of(REPO)


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        (("some-org/nothing", "model", "main"), DataError, "HF_HUB_OFFLINE"),
        ((REPO, "dataset", OTHER), DataError, OTHER),
        (("not an id", "model", "main"), ConfigError, "correct its id"),
        ((REPO, "dataset", "main", ["train/*.csv"]), DataError, "data/train-0.parquet"),
    ],
)
def test_what_cannot_be_had_is_told(cache: HubCache, arguments: tuple, kind: type, words: str) -> None:
    with pytest.raises(kind, match=words):
        fetch(*arguments)


@pytest.fixture
def refusing_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[BaseHTTPRequestHandler]]:
    """A server on this machine that answers every question with one of the hub's refusals."""
    import huggingface_hub.constants as constants

    class Handler(BaseHTTPRequestHandler):
        status, code = 404, "RepoNotFound"

        def do_GET(self) -> None:
            self.send_response(self.status)
            self.send_header("X-Error-Code", self.code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815 (the server's own name)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield Handler
    server.shutdown()


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (403, "GatedRepo", "accept its terms"),
        (404, "RepoNotFound", "There is no dataset"),
        (404, "RevisionNotFound", "has no revision"),
    ],
)
def test_what_the_hub_refuses_is_told(cache: HubCache, refusing_hub: Any, status: int, code: str, words: str) -> None:
    refusing_hub.status, refusing_hub.code = status, code
    with pytest.raises(ConfigError, match=words):
        fetch("some-org/refused", "dataset", "main")


@pytest.mark.parametrize(
    ("repo", "revision"),
    [
        ("facebook/nllb-200-distilled-600M", "refs/pr/39"),
        ("FacebookAI/xlm-roberta-base", OTHER),
        ("google-bert/bert-base-multilingual-cased", "main"),
        ("gpt2", "v1.0.0"),
        ("some_org/data.v2", "refs/convert/parquet"),
    ],
)
def test_ids_of_the_hub_are_sound(repo: str, revision: str) -> None:
    from polybatch.core.hub import id_faults

    assert not list(id_faults(repo, revision))


@pytest.mark.parametrize(
    "text", ["", "$(touch pwned)", "a;b", "a b", "../a", "a/../b", "-a", ".a", "/a", "a/", "a//b", "a\nb", "a'b", "ä/b"]
)
def test_what_can_be_no_id_or_revision_is_told(text: str) -> None:
    from polybatch.core.hub import id_faults

    assert ["no id of the hub" in fault for fault in id_faults(text, "main")] == [True]
    assert ["no revision" in fault for fault in id_faults(REPO, text)] == [True]


@pytest.mark.parametrize("repo", ["a/b/c", "a--b/c", "a/b.git", "a/b-", "a/" + "b" * 97])
def test_the_hub_has_no_such_ids(repo: str) -> None:
    """As huggingface_hub's own validate_repo_id says."""
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    from polybatch.core.hub import id_faults

    assert list(id_faults(repo, "main"))
    with pytest.raises(HFValidationError):
        validate_repo_id(repo)
