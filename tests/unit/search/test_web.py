"""The server, with real connections: what it answers, whom it refuses, and that it stays up."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from small_study import HYBRID, LANGUAGES, MARKUP, UNTRAINED

from polybatch.core.errors import ConfigError, DataError
from polybatch.search.answers import Answers
from polybatch.search.differences import differences
from polybatch.search.indexed import read_study
from polybatch.search.loading import Loading
from polybatch.search.web import ADDRESS, listen, server

PAGE = ("/", "/script.js", "/style.css", "/icon.svg")


class Client:
    """Asks a server on a port, each time by a connection of its own."""

    def __init__(self, port: int) -> None:
        self.port = port

    def request(self, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = HTTPConnection(ADDRESS, self.port, timeout=120)
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, content

    def ask(self, name: str, **given: str) -> tuple[int, Any]:
        status, _, content = self.request(f"/api/{name}?{urlencode(given)}")
        return status, json.loads(content)


def serving(loading: Loading) -> Iterator[Client]:
    sock = listen(0)
    running = server(loading, "default")
    thread = threading.Thread(target=running.run, kwargs={"sockets": [sock]})
    thread.start()
    yield Client(sock.getsockname()[1])
    running.should_exit = True
    thread.join(60)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def loaded(written: Path, answers: Answers) -> Loading:
    loading = Loading(read_study(written, "default").choose(None, None, "test"))
    loading.answers = answers
    loading.differences = differences(answers.retrievers, answers.queries, lambda share: None)
    return loading


@pytest.fixture(scope="module")
def client(loaded: Loading) -> Iterator[Client]:
    yield from serving(loaded)


def test_the_page_and_its_parts_are_served_under_a_strict_policy(client: Client) -> None:
    for path in PAGE:
        status, headers, content = client.request(path)
        assert status == 200
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'")
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert b"http:" not in content.replace(b"http://www.w3.org/2000/svg", b"")
        assert b"https:" not in content


def test_a_question_is_answered_by_both_models(client: Client) -> None:
    status, found = client.ask("search", q="ضوء", langs="th,zh", top="5")
    assert status == 200
    assert [model["run"] for model in found["models"]] == [UNTRAINED, HYBRID]
    assert {hit["lang"] for model in found["models"] for hit in model["hits"]} <= {"th", "zh"}
    assert [len(model["hits"]) for model in found["models"]] == [5, 5]
    assert found["models"][0]["shares"].keys() == {"10", "100"}
    status, group = client.ask("translations", passage="p5-en", q="ضوء")
    assert group["passages"][0]["text"] == MARKUP
    assert [one["lang"] for one in group["passages"]] == list(LANGUAGES)


def test_the_state_tells_what_the_page_shows_around_the_answers(client: Client) -> None:
    status, found = client.ask("state")
    assert (status, found["ready"], found["benchmark"]) == (200, True, "test")
    assert [(one["code"], one["passages"], one["queries"]) for one in found["languages"]] == [
        (lang, 6, True) for lang in LANGUAGES
    ]
    assert found["languages"][1]["name"] == "Arabic"
    status, listed = client.ask("queries", by="language", lang="ar")
    assert [row["query"]["lang"] for row in listed["rows"]] == ["ar"] * 4
    assert (listed["total"], listed["of"], listed["sampled"]) == (4, 16, 16)
    assert client.ask("queries", start="999")[1]["rows"] == []


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "192.168.0.1", ""])
def test_another_name_for_this_machine_is_refused(client: Client, host: str) -> None:
    for path in ("/", "/api/state"):
        status, headers, content = client.request(path, Host=host)
        assert status == 400
        assert b"study" not in content
        assert "content-security-policy" in headers


def test_this_machines_own_names_are_answered(client: Client) -> None:
    for host in ("127.0.0.1", "localhost", f"localhost:{client.port}", "localhost:9999"):
        assert client.request("/api/state", Host=host)[0] == 200


def test_pages_of_other_sites_are_refused(client: Client) -> None:
    for site in ("cross-site", "same-site"):
        assert client.request("/api/state", Sec_Fetch_Site=site)[0] == 403
    assert client.request("/api/state", Sec_Fetch_Site="same-origin")[0] == 200
    assert client.request("/", Sec_Fetch_Site="cross-site")[0] == 200  # a link to the page


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_changed(client: Client, method: str) -> None:
    assert client.request("/api/state", method)[0] == 405
    assert client.request("/", method)[0] == 405


def test_only_the_loopback_address_is_bound() -> None:
    sock = listen(0)
    assert sock.getsockname()[0] == "127.0.0.1"
    sock.close()


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("search", {}, "The question is empty."),
        ("search", {"q": " \u200b"}, "The question is empty."),
        ("search", {"q": "x" * 100_000}, "The question is too long."),
        ("search", {"q": "红" * 100_000}, "The question is too long."),
        ("search", {"q": "red", "langs": "en,xx"}, "The corpus has no passages in that language."),
        ("search", {"q": "red", "top": "many"}, "That is no number."),
        ("search", {"q": "red", "top": "9" * 50}, "So many passages are not listed."),
        ("search", {"id": "q9"}, "The benchmark has no such query."),
        ("translations", {"q": "red", "passage": "p9"}, "The benchmark has no such passage."),
        ("queries", {"by": "size"}, "The list has no such order."),
        ("queries", {"start": "-1"}, "That is no number."),
    ],
)
def test_what_cannot_be_asked_is_told_and_the_page_stays_up(
    client: Client, name: str, given: dict[str, str], said: str
) -> None:
    status, found = client.ask(name, **given)
    assert (status, found["fault"]["problem"]) == (400, said)
    assert client.ask("search", q="red")[0] == 200


def test_broken_requests_leave_the_page_up(client: Client) -> None:
    for raw in (
        b"\x16\x03\x01\x02\x00",
        b"GET /api/search?q=%ff%00%ed%a0%80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\r\n\r\n",
    ):
        with socket.create_connection((ADDRESS, client.port), timeout=60) as raw_connection:
            raw_connection.sendall(raw)
            assert b"500" not in raw_connection.recv(100)[:15]
    assert client.ask("search", q="red")[0] == 200
    assert client.request("/nowhere")[0] == 404
    assert client.request("/../../../etc/passwd")[0] == 404


def test_a_browser_that_leaves_in_the_middle_is_no_fault(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for place in range(10):
            gone = socket.create_connection((ADDRESS, client.port), timeout=60)
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")  # an abrupt end
            gone.sendall(f"GET /api/search?q=red+{place} HTTP/1.1\r\nHost: localhost\r\n".encode())
            if place % 2:
                gone.sendall(b"\r\n")
            gone.close()
        assert client.ask("search", q="red")[0] == 200
        time.sleep(0.2)
    assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]


def test_while_models_load_the_page_says_how_far_that_is(written: Path, answers: Answers) -> None:
    loading = Loading(read_study(written, "default").choose(None, None, "test"))
    loading._lines[0] = "model 1 of 2: opening the vectors"
    for client in serving(loading):
        status, found = client.ask("state")
        assert (status, found["ready"]) == (200, False)
        assert found["line"].startswith("model 1 of 2: opening the vectors (")
        assert client.ask("search", q="red")[1]["fault"]["problem"] == "The models are still being loaded."
        loading.answers = answers
        assert client.ask("search", q="red")[0] == 200
        assert client.ask("queries")[1] == {"rows": [], "total": 0, "of": 16, "compared": 0.0}


def test_a_model_that_cannot_be_opened_is_told_on_the_page(written: Path) -> None:
    loading = Loading(read_study(written, "default").choose(None, None, "test"))
    loading.chosen[1] = loading.chosen[1].__class__(**{**vars(loading.chosen[1]), "model": written / "gone"})
    loading.load()
    assert isinstance(loading.fault, DataError)
    for client in serving(loading):
        status, found = client.ask("state")
        assert status == 200
        assert found["fault"]["problem"] == "The model is no sentence-transformers folder."
        assert found["fault"]["facts"]["where"] == str(written / "gone")
        assert client.ask("search", q="red")[1]["fault"] == found["fault"]
        assert client.request("/")[0] == 200


def test_where_queries_cannot_be_compared_questions_are_answered_all_the_same(written: Path, answers: Answers) -> None:
    loading = Loading(read_study(written, "default").choose(None, None, "test"))
    loading.answers, loading.fault = answers, DataError("Some inner products are not numbers.")
    for client in serving(loading):
        assert client.ask("search", q="red")[0] == 200
        assert client.ask("state")[1]["ready"]
        assert client.ask("queries")[1]["fault"]["problem"] == "Some inner products are not numbers."


def test_a_port_that_is_taken_is_told() -> None:
    first = listen(0)
    with pytest.raises(ConfigError, match=r"address already in use(.|\n)*--port 0"):
        listen(first.getsockname()[1])
    first.close()
