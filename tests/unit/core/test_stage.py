"""Files that are whole or absent, and how a stage tells a user what went wrong."""

from __future__ import annotations

import errno
import gc
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest

from polybatch.core import stage
from polybatch.core.errors import DataError
from polybatch.core.files import atomic_path, read_json, read_parquet, write_json, write_parquet, write_rows

SCHEMA = pa.schema([("a", pa.int32())])


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "x.parquet"
    write_rows(target, [{"a": 1}], SCHEMA)

    def batches():
        yield pa.table({"a": [2]})
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_parquet(target, batches(), SCHEMA)
    assert read_parquet(target, SCHEMA).to_pylist() == [{"a": 1}]
    assert [p.name for p in tmp_path.iterdir()] == ["x.parquet"]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    for name in ("old", "new"):
        with atomic_path(tmp_path / "model") as partial:
            partial.mkdir()
            (partial / name).touch()
    assert [p.name for p in (tmp_path / "model").iterdir()] == ["new"]


def test_parquet_faults_name_file_and_column(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write_rows(path, [{"a": 1}], SCHEMA)
    with pytest.raises(DataError, match="lacks 1 column"):
        read_parquet(path, pa.schema([("a", pa.int32()), ("b", pa.string())]))
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match="truncated"):
        read_parquet(path)
    with pytest.raises(DataError, match="missing"):
        read_json(tmp_path / "no.json")


def test_a_user_error_is_told_without_a_traceback(capsys: pytest.CaptureFixture) -> None:
    def main(argv: list[str] | None) -> None:
        raise DataError("It broke.", expected="this", found="that", where="here", remedy="mend it")

    with pytest.raises(SystemExit) as caught:
        stage.run(main, [])
    assert str(caught.value) == "error: It broke.\n  where: here\n  expected: this\n  found: that\n  to do: mend it"


def test_a_full_disk_is_told_as_such() -> None:
    def main(argv: list[str] | None) -> None:
        with open("/dev/full", "w") as handle:  # the kernel's own full disk
            handle.write("x" * 100_000)

    with pytest.raises(SystemExit, match="disk is full"):
        stage.run(main, [])


def test_other_system_errors_keep_their_traceback() -> None:
    def main(argv: list[str] | None) -> None:
        raise OSError(errno.EACCES, "no")

    with pytest.raises(OSError, match="no"):
        stage.run(main, [])


def test_progress_ends_with_a_line_in_a_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="polybatch"):
        assert list(stage.progress(range(3), total=3, label="rows read")) == [0, 1, 2]
    assert "rows read: 3/3 (100%)" in caplog.text


def test_a_pace_counts_from_where_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([100.0, 110.0, 110.0, 110.0, 120.0])
    monkeypatch.setattr(stage, "time", SimpleNamespace(monotonic=lambda: next(now)))
    pace = stage.Pace("training", 100, "steps", done=50)
    pace.done = 60
    assert pace.is_due()
    assert pace.line() == "training: 60/100 (60%) steps, 1.0 steps/s, 40 s left"
    assert pace.is_due()


def test_json_is_stable(tmp_path: Path) -> None:
    write_json(tmp_path / "a", {"b": 1, "a": "ü"})
    assert (
        (tmp_path / "a").read_text("utf-8")
        == '{\n  "a": "ü",\n  "b": 1,\n  "~sha256": "a5b82ac00e6bf8c29c66626985a622dc8e55a183b420b5df9c6655f541387d8f"\n}\n'
    )
    write_json(tmp_path / "a", {"b": 1, "a": "ü"}, sealed=False)
    assert (tmp_path / "a").read_text("utf-8") == '{\n  "a": "ü",\n  "b": 1\n}\n'


def test_imports_are_never_looked_through_for_garbage() -> None:
    frozen = gc.get_freeze_count()
    with stage.importing():
        assert not gc.isenabled()
        with stage.importing():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > frozen
    gc.unfreeze()


def test_ctrl_c_is_told_without_a_traceback(capsys: pytest.CaptureFixture) -> None:
    def main(argv: list[str] | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as caught:
        stage.run(main, [])
    assert caught.value.code == 130
    assert capsys.readouterr().err.startswith("error: It was stopped (Ctrl-C).\n  to do: run the same command again")
