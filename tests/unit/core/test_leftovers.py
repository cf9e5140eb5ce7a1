"""What killed processes leave behind is removed, and nothing that a living one may still write."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from polybatch.core.files import atomic_path, parse_temporary, scratch_folder, temporary_path, this_host
from polybatch.core.leftovers import Leftovers, clear

WORKFLOW = Path(__file__).parents[3] / "workflow"
KILLED = """
import os, signal, sys
from pathlib import Path
from polybatch.core.files import atomic_path
with atomic_path(Path(sys.argv[1], "en.parquet")) as file, atomic_path(Path(sys.argv[1], "model")) as folder:
    file.write_bytes(b"x" * 1000)
    (folder / "deep").mkdir(parents=True)
    (folder / "deep/weights").write_bytes(b"x" * 500)
    os.kill(os.getpid(), signal.{signal})
"""


def killed(folder: Path, by: str = "SIGKILL") -> int:
    """The number of a process that was killed while it wrote two outputs."""
    environment = {**os.environ, "PYTHONPATH": str(WORKFLOW)}
    command = [sys.executable, "-c", KILLED.replace("{signal}", by), str(folder)]
    with subprocess.Popen(command, env=environment) as process:
        assert process.wait(120) == -getattr(signal, by)
    return process.pid


def test_what_a_killed_process_left_is_removed_and_counted(tmp_path: Path) -> None:
    pid = killed(tmp_path / "a")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(
        [f".en.parquet.{this_host()}.{pid}.partial", f".model.{this_host()}.{pid}.partial"]
    )
    (tmp_path / "a/de.parquet").write_text("whole")
    (tmp_path / "a/.hidden.partial").write_text("someone else's")
    found = clear([tmp_path, tmp_path / "nowhere"])
    assert found == Leftovers(removed=2, size=1500)
    assert str(found) == "Removed 2 half-written output(s) of killed jobs (0.0 MB)."
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [".hidden.partial", "de.parquet"]
    assert str(clear([tmp_path])) == ""


def test_what_a_living_process_writes_is_kept(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "en.parquet") as partial:
        partial.write_text("half")
        assert clear([tmp_path]) == Leftovers()
    assert (tmp_path / "en.parquet").read_text() == "half"


def test_a_number_that_was_given_to_another_process_since_protects_nothing(tmp_path: Path) -> None:
    partial = temporary_path(tmp_path / "en.parquet")
    partial.write_text("half")
    before_this_process = time.time() - 10 * 365 * 86400
    os.utime(partial, (before_this_process, before_this_process))
    assert clear([tmp_path]).removed == 1


def test_what_another_machine_wrote_is_kept_and_told(tmp_path: Path) -> None:
    other = tmp_path / ".en.parquet.node7.999999.partial"
    other.write_text("half")
    found = clear([tmp_path])
    assert found == Leftovers(kept=1)
    assert "of other machines are kept" in str(found)
    assert other.exists()


def test_a_killed_process_with_the_same_number_does_not_stand_in_the_way(tmp_path: Path) -> None:
    stale = temporary_path(tmp_path / "model")
    (stale / "old").mkdir(parents=True)
    with atomic_path(tmp_path / "model") as partial:
        partial.mkdir()
        (partial / "new").touch()
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["new"]


@pytest.mark.parametrize("name", ["en.parquet", ".en.parquet.partial", "x.node.12.partial", ".a.node.1x.partial"])
def test_other_names_are_no_temporary_ones(name: str) -> None:
    assert parse_temporary(name) is None


def test_machines_and_processes_are_read_from_names() -> None:
    assert parse_temporary(".en.parquet.node-7.12.partial") == ("node-7", 12)
    assert parse_temporary(temporary_path(Path("a/b.c")).name) == (this_host(), os.getpid())


def test_the_scratch_folder_of_a_killed_stage_is_found_by_its_name(tmp_path: Path) -> None:
    target = tmp_path / "sources" / "made.parquet"
    program = (
        "import os, sys; from pathlib import Path; from polybatch.core.files import scratch_folder\n"
        "with scratch_folder(Path(sys.argv[1])) as folder: (folder / 'keys').write_bytes(b'123'); os._exit(9)"
    )
    command = [sys.executable, "-c", program, str(target)]
    assert subprocess.run(command, env={**os.environ, "PYTHONPATH": str(WORKFLOW)}, check=False).returncode == 9
    with scratch_folder(target) as ours:
        assert clear([tmp_path]) == Leftovers(removed=1, size=3)
        assert list(target.parent.iterdir()) == [ours], "that of a living process stays"
    assert not list(target.parent.iterdir())
