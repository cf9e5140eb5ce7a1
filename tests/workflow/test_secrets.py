"""No secret of an address reaches a file or the console: not as a reference, and not by a slip of the pen.

A server on this machine wants a password and a token. What is planted is looked for in every file below the project's
folder, Snakemake's own records among them, and in all that is printed.
"""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import urllib.parse
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from toy_source import write

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "config.yaml", "rules", "workflow", "envs", "profiles", "resources")
SECRETS = {"SECRET_USER": "Planted-user", "SECRET_PASSWORD": "Planted/pass?word", "SECRET_TOKEN": "Planted-token"}
PLANTED = "lanted"  # whatever the first letter becomes


class Guarded(BaseHTTPRequestHandler):
    """Answers those who know the secrets."""

    files: ClassVar[dict[str, bytes]] = {}

    def do_GET(self) -> None:
        parts = urllib.parse.urlsplit(self.path)
        user = f"{SECRETS['SECRET_USER']}:{SECRETS['SECRET_PASSWORD']}"
        knows = self.headers["Authorization"] == "Basic " + base64.b64encode(user.encode()).decode()
        token = urllib.parse.parse_qs(parts.query).get("token") == [SECRETS["SECRET_TOKEN"]]
        if not (knows and token and parts.path in self.files):
            self.send_error(403, f"no entry with {self.path} and {self.headers['Authorization']}")
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.files[parts.path])

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as handle:
        handle.writestr("dataset/train/P1.train.json", json.dumps([{"question": "Who?", "answers": ["a lamp"]}]))
    Guarded.files = {"/questions.zip": archive.getvalue(), "/en.json": b"{}", "/de.json": b"{}"}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Guarded)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path)
    write(tmp_path / "toy.jsonl")
    return tmp_path


def study(**changes: Any) -> dict[str, Any]:
    """The toy study with other entries."""
    return {**yaml.safe_load((ROOT / "tests/workflow/toy.yaml").read_text("utf-8")), **changes}


def run(folder: Path, config: dict[str, Any], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs Snakemake with the secrets in its environment; the study itself is not kept below the project."""
    overlay = folder.parent / f"{folder.name}.yaml"
    overlay.write_text(yaml.safe_dump(config), "utf-8")
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments, "--configfile", str(overlay)]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, **SECRETS}
    )


def leaks(folder: Path, *done: subprocess.CompletedProcess[str]) -> list[str]:
    """Where a secret stands, in plain or as HTTP's basic authentication spells it."""
    user = base64.b64encode(f"{SECRETS['SECRET_USER']}:{SECRETS['SECRET_PASSWORD']}".encode()).decode()
    files = [path for path in folder.rglob("*") if path.is_file() and path.parts[-2] != "tests"]
    found = [str(path.relative_to(folder)) for path in files if _holds(path.read_bytes(), user)]
    found += [str(path) for path in folder.rglob("*") if PLANTED in path.name]
    return found + [
        f"printed, run {at}" for at, one in enumerate(done) if _holds((one.stdout + one.stderr).encode(), user)
    ]


def _holds(data: bytes, user: str) -> bool:
    spelt = [PLANTED.encode(), user.encode()]
    return any(word in data or base64.b64encode(word) in data for word in spelt)


def test_references_reach_the_server_and_nothing_else(project: Path, host: str) -> None:
    login = "http://${SECRET_USER}:${SECRET_PASSWORD}@" + host
    query = "?token=${SECRET_TOKEN}"
    config = study(
        study={**study()["study"], "benchmarks": ["test", "squad"]},
        source=[study()["source"], "questions"],
        sources={
            "questions": {"adapter": "entity_questions", "passages": ["toy"], "url": f"{login}/questions.zip{query}"}
        },
        benchmarks={
            "test": {"split": "test"},
            "squad": {
                "adapter": "lareqa",
                "languages": ["en", "de"],
                "files": {lang: {"url": f"{login}/{lang}.json{query}"} for lang in ("en", "de")},
            },
        },
    )
    done = [run(project, config, "prefetch", "--printshellcmds")]
    assert done[0].returncode == 0, (done[0].stdout + done[0].stderr)[-3000:]
    record = json.loads((project / "results/toy/hub/benchmark--squad.json").read_text("utf-8"))
    assert record["files"]["en"]["url"] == f"{login}/en.json{query}"
    done.append(run(project, config, "--dry-run", "--printshellcmds", "all"))
    done.append(run(project, config, "plan"))
    done.append(run(project, config, "prefetch", "--report", "report.html"))
    for one in done:
        assert one.returncode == 0, (one.stdout + one.stderr)[-3000:]
    assert (project / "report.html").is_file()
    Guarded.files = {}
    shutil.rmtree(project / "results/toy/hub")
    failed = run(project, config, "prefetch", "--printshellcmds", "--show-failed-logs")
    assert failed.returncode != 0
    assert "HTTPError" in failed.stderr + failed.stdout
    assert leaks(project, *done, failed) == []


def test_a_secret_in_any_key_is_refused_by_its_name_and_left_nowhere(project: Path) -> None:
    address = f"https://me:{SECRETS['SECRET_TOKEN']}@host.org/x?token={SECRETS['SECRET_TOKEN']}"
    config = study(
        source=[{"path": address, "name": "a", "license": address}, "questions"],
        sources={
            "questions": {"adapter": "entity_questions", "url": address, "passages": ["a"]},
            "wheel": {"adapter": "homeassistant", "requirement": f"x @ {address}", "sha256": address},
            "hub": {"adapter": "wiki_qa", "repo": address, "revision": address},
        },
        encoders={"toy": {"model": address, "revision": address}, "own": {"path": address}},
        benchmarks={
            "test": {"split": "test"},
            "squad": {"adapter": "lareqa", "files": {"en": {"url": address}}},
            "beir": {"adapter": "beir", "path": address},
        },
        data_mark=address,
        unknown={"key": [address]},
    )
    config["translation"]["default"] = {"model": address, "revision": address}
    config["translation"]["translators"] = {"en-de": {"path": address}}
    config["tables"] = {"published": address}
    done = run(project, config, "--dry-run", "--printshellcmds", "--verbose")
    assert done.returncode != 0
    for key in (
        "source.0.path",
        "source.0.license",
        "sources.questions.url",
        "sources.wheel.requirement",
        "sources.wheel.sha256",
        "sources.hub.repo",
        "sources.hub.revision",
        "encoders.toy.model",
        "encoders.toy.revision",
        "encoders.own.path",
        "benchmarks.squad.files.en.url",
        "benchmarks.beir.path",
        "translation.default.model",
        "translation.default.revision",
        "translation.translators.en-de.path",
        "tables.published",
        "data_mark",
        "unknown.key.0",
    ):
        assert f"{key}: " in done.stdout + done.stderr, key
    assert "${NAME}" in done.stdout + done.stderr
    by_hand = run(project, study(), "--dry-run", "--printshellcmds", "--config", f"data_mark={address}")
    assert by_hand.returncode != 0
    assert leaks(project, done, by_hand) == []
