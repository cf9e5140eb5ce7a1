"""Files are fetched once, checked, and told plainly when they cannot be had."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from polybatch.core import download
from polybatch.core.download import check_pinned, fetch_files, read_files
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_json

CONTENT = b'{"data": []}'
OTHER = b'{"data": [1]}'
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder; the first `failures` answers are errors of the server."""

    failures = 0
    last_path = ""
    last_user: str | None = None

    def do_GET(self) -> None:
        Handler.last_path, Handler.last_user = self.path, self.headers["Authorization"]
        if Handler.failures:
            Handler.failures -= 1
            self.send_error(503)
        elif self.path.startswith("/away"):
            self.send_response(302)
            self.send_header("Location", "ftp://me:s3cret@127.0.0.1/en.json?token=hidden")
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "en.json").write_bytes(CONTENT)
    (folder / "other.json").write_bytes(OTHER)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_WAIT_S", 0.0)


def test_fetches_retries_and_records(address: str, tmp_path: Path) -> None:
    Handler.failures = 2
    fetch_files({"en": {"url": f"{address}/en.json", "sha256": DIGEST}}, tmp_path / "record.json", tmp_path / "files")
    files = read_files(tmp_path / "record.json")
    assert files["en"].read_bytes() == CONTENT
    assert read_json(tmp_path / "record.json")["files"]["en"]["sha256"] == DIGEST
    files["en"].unlink()
    with pytest.raises(DataError, match="no longer there"):
        read_files(tmp_path / "record.json")


def test_a_file_put_in_place_by_hand_is_taken_without_a_connection(tmp_path: Path) -> None:
    (tmp_path / "en.json").write_bytes(CONTENT)
    files = {"en": {"url": "https://127.0.0.1:9/en.json", "sha256": DIGEST}}
    fetch_files(files, tmp_path / "record.json", tmp_path)
    (tmp_path / "en.json").write_bytes(b"another")
    with pytest.raises(DataError, match="not the one that was pinned"):
        fetch_files(files, tmp_path / "record.json", tmp_path)
    (tmp_path / "en.json").unlink()
    with pytest.raises(DataError, match="put the file by hand at") as error:
        fetch_files(files, tmp_path / "record.json", tmp_path)
    assert str(tmp_path / "en.json") in str(error.value)


def test_a_wrong_or_large_file_is_not_kept(address: str, tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    url = f"{address}/en.json"
    with pytest.raises(DataError, match="not the one that was pinned"):
        fetch_files({"en": {"url": url, "sha256": "0" * 64}}, record, tmp_path)
    with pytest.raises(DataError, match="larger than it may be"):
        fetch_files({"en": {"url": url}}, record, tmp_path, most_bytes=5)
    with pytest.raises(DataError, match="HTTPError"):
        fetch_files({"de": {"url": f"{address}/de.json"}}, record, tmp_path)
    with pytest.raises(DataError):
        fetch_files({"en": {"url": f"{address}/away"}}, record, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_without_a_pin_is_told(address: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = fetch_files({"en": {"url": f"{address}/en.json"}}, tmp_path / "record.json")
    assert paths == {"en": tmp_path / "record" / "en.json"}
    assert DIGEST in caplog.text


def test_a_file_without_a_pin_is_kept_only_as_it_came_from_this_address(address: str, tmp_path: Path) -> None:
    record, place = tmp_path / "record.json", tmp_path / "en.json"
    url = f"{address}/en.json?new=1"
    fetch_files({"en": {"url": url}}, record, tmp_path)
    record.unlink()  # as Snakemake does before a rerun
    Handler.failures = 9
    fetch_files({"en": {"url": url}}, record, tmp_path)
    assert Handler.failures == 9, "not asked for again"
    with pytest.raises(DataError, match="could not be fetched"):
        fetch_files({"en": {"url": f"{address}/en.json?new=0"}}, record, tmp_path)
    assert place.read_bytes() == CONTENT
    Handler.failures = 0
    fetch_files({"en": {"url": f"{address}/other.json"}}, record, tmp_path)
    assert place.read_bytes() == OTHER
    assert read_json(record)["files"]["en"]["url"] == f"{address}/other.json"
    place.write_bytes(b"changed")
    fetch_files({"en": {"url": f"{address}/other.json"}}, record, tmp_path)
    assert place.read_bytes() == OTHER


def test_a_file_by_hand_without_a_pin_is_adopted_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "en.json").write_bytes(CONTENT)
    fetch_files({"en": {"url": "https://127.0.0.1:9/en.json"}}, tmp_path / "record.json", tmp_path)
    assert "was put there by hand" in caplog.text
    origin = read_json(tmp_path / ".en.json.fetched.json")
    assert (origin["url"], origin["sha256"]) == ("https://127.0.0.1:9/en.json", DIGEST)
    with pytest.raises(DataError, match=r"delete \.en\.json\.fetched\.json"):
        fetch_files({"en": {"url": "https://127.0.0.1:9/new.json"}}, tmp_path / "record.json", tmp_path)


def test_references_are_filled_in_and_never_written(
    address: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"ME": "me", "PW": "s3cret", "TOKEN": "hidden", "SIGNED": "sig=SIGNED"}.items():
        monkeypatch.setenv(name, value)
    host = address.removeprefix("http://")
    url = f"http://${{ME}}:${{PW}}@{host}/en.json?token=${{TOKEN}}&${{SIGNED}}"
    Handler.failures = 1
    fetch_files({"en": {"url": url}}, tmp_path / "record.json", tmp_path)
    assert Handler.last_path == "/en.json?token=hidden&sig=SIGNED"
    assert Handler.last_user == "Basic " + base64.b64encode(b"me:s3cret").decode()
    assert read_json(tmp_path / "record.json")["files"]["en"]["url"] == url
    told = [caplog.text, *(path.read_text("utf-8") for path in tmp_path.rglob("*") if path.is_file())]
    for fetched in ("gone.json?token=${TOKEN}", "away?token=${TOKEN}"):
        with pytest.raises(DataError) as error:
            fetch_files({"de": {"url": f"http://${{ME}}:${{PW}}@{host}/{fetched}"}}, tmp_path / "record.json", tmp_path)
        told.append(str(error.value))
    monkeypatch.delenv("TOKEN")
    Handler.failures = 9
    fetch_files({"en": {"url": url}}, tmp_path / "record.json", tmp_path)  # it is there: nothing is looked up
    Handler.failures = 0
    with pytest.raises(ConfigError, match="TOKEN"):
        fetch_files({"de": {"url": url}}, tmp_path / "record.json", tmp_path)
    assert not [
        text for text in told if "s3cret" in text or "hidden" in text or "SIGNED" in text.replace("${SIGNED}", "")
    ]


@pytest.mark.parametrize(
    "url",
    [
        "ftp://me:s3cret@a.org/x?token=s3cret",
        "https://me:s3cret@a.org:x/?s3cret",
        "me:s3cret@a.org",
        "https://me:s3cret@a.org/x",
        "https://a.org/x?token=s3cret",
        "https://a.org/x#s3cret",
    ],
)
def test_secrets_that_are_written_out_are_refused_and_not_shown(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        fetch_files({"de": {"url": url}}, tmp_path / "record.json", tmp_path)
    assert "s3cret" not in str(error.value)


def test_an_address_that_leads_away_is_not_followed(address: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not https") as error:
        fetch_files({"en": {"url": f"{address}/away"}}, tmp_path / "record.json", tmp_path)
    assert "s3cret" not in str(error.value)


def test_a_disk_that_fills_up_is_no_fault_of_the_network(address: str, tmp_path: Path) -> None:
    from polybatch.core import stage

    with pytest.raises(DataError) as error:
        download._download_url(f"{address}/en.json", Path("/dev/full"), tmp_path / "en.json", 10**6)
    assert stage.is_disk_full(error.value)


def test_a_pinned_file_is_looked_at_by_size_and_checksum(tmp_path: Path) -> None:
    (tmp_path / "a.whl").write_bytes(CONTENT)
    check_pinned(tmp_path / "a.whl", DIGEST)
    with pytest.raises(DataError, match="larger than it may be"):
        check_pinned(tmp_path / "a.whl", DIGEST, most_bytes=5)
    with pytest.raises(DataError, match="not the one that was pinned"):
        check_pinned(tmp_path / "a.whl", "0" * 64)
    with pytest.raises(DataError, match="prefetch"):
        check_pinned(tmp_path / "b.whl", DIGEST)


def test_all_unusable_addresses_come_at_once(tmp_path: Path) -> None:
    files = {
        "en": {"url": "http://example.org/en.json", "sha256": "abc"},
        "../de": {"url": "https://example.org/de.json"},
    }
    with pytest.raises(ConfigError) as error:
        fetch_files(files, tmp_path / "record.json")
    for words in ("no https address", "cannot be a file's name", "is no SHA-256"):
        assert words in str(error.value)
