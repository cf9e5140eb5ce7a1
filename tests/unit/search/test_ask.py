"""The word `search` as a user types it, each time a process of its own."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path

import pytest
from small_study import HYBRID, UNTRAINED

from polybatch.core.errors import ConfigError
from polybatch.search import ask

WORKFLOW = Path(__file__).parents[3] / "workflow"


def command(written: Path, *arguments: str) -> tuple[list[str], dict[str, str]]:
    words = [sys.executable, "-m", "polybatch", "search", *arguments, "--results", str(written)]
    return words, {**os.environ, "PYTHONPATH": str(WORKFLOW)}


def run(written: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    words, environment = command(written, *arguments)
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=300)


def test_a_question_is_answered_in_the_terminal(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ask.main(
        [
            "kırmızı ev nerede",
            "--run",
            "untrained",
            "--against",
            "hybrid-a0.5",
            "--top",
            "3",
            "--languages",
            "th",
            "--results",
            str(written),
        ]
    )
    told = capsys.readouterr().out
    assert told.startswith("question: kırmızı ev nerede\n")
    assert told.index(UNTRAINED) < told.index(HYBRID)
    assert re.findall(r"^ +\d+   -?\d\.\d{3}  (\w+)", told, re.MULTILINE) == ["th"] * 6
    assert len(re.findall(r"^encoded in \d+ ms, searched in \d+ ms$", told, re.MULTILINE)) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([""], "The question is empty."),
        (["x" * 100_000], "The question is too long."),
        (["red", "--run", "hybird"], "found: " + HYBRID),
        (["red", "--top", "0"], "So many passages are not listed."),
        (["red", "--study", "defualt"], "tables of the studies default"),
        (
            ["red", "--against", "hybrid-a0.5", "--run", "untrained", "--benchmark", "extra"],
            f"{UNTRAINED}: test extra; {HYBRID}: test",
        ),
    ],
)
def test_what_cannot_be_asked_is_told_before_a_model_is_loaded(written: Path, arguments: list[str], said: str) -> None:
    done = run(written, *arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "loading the model" not in done.stderr


def test_a_port_that_is_taken_ends_it_in_clear_words(written: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run(written, "--port", str(taken.getsockname()[1]), "--no-browser")
    assert done.returncode == 1
    assert done.stderr.startswith("error: The page cannot be opened at port")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("port", ["-1", "65536", "x", "１２"])
def test_what_is_no_port_is_told(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        ask.main([f"--port={port}"])
    assert "is no port" in capsys.readouterr().err


def test_the_page_opens_answers_and_ends_with_ctrl_c(written: Path) -> None:
    words, environment = command(written, "--run", "untrained", "--port", "0", "--no-browser")
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline()
        connection = HTTPConnection(
            "127.0.0.1", int(re.findall(r"http://127\.0\.0\.1:(\d+)/", address)[0]), timeout=120
        )
        connection.request("GET", "/api/state")
        assert connection.getresponse().status == 200
        connection.close()
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "Traceback" not in told
    assert "the page is closed" in told


def test_without_its_libraries_the_page_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ask, "_LIBRARIES", ("starlette", "no_such_library"))
    with pytest.raises(ConfigError, match=r"no no_such_library(.|\n)*\.\[search\]"):
        ask.main(["--results", str(tmp_path)])
