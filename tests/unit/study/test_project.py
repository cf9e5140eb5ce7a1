"""The project's folder as commands find it: its studies, and configurations merged as Snakemake merges them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from polybatch.core.errors import ConfigError
from polybatch.study.project import merged, pending, require_project, resolved, study_files

ROOT = Path(__file__).parents[3]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "workflow/studies").mkdir(parents=True)
    (tmp_path / "config.yaml").write_text("study: {name: default, seeds: [1]}\nkept: {a: 1, b: [1, 2]}\n")
    (tmp_path / "workflow/studies/alone.yaml").write_text("standalone: true\nstudy: {name: alone}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_study_is_found_by_its_file_or_in_the_default_configuration(project: Path) -> None:
    assert study_files("alone") == [Path("workflow/studies/alone.yaml")]
    assert study_files("default") == []


def test_an_unknown_study_is_refused_with_those_there_are(project: Path) -> None:
    with pytest.raises(ConfigError, match="no study 'papre'") as error:
        study_files("papre")
    assert error.value.expected == "one of alone, or that of config.yaml"


def test_a_configuration_of_another_shape_has_no_study_of_that_name(project: Path) -> None:
    (project / "config.yaml").write_text("study: default\n")
    with pytest.raises(ConfigError, match="no study 'default'"):
        study_files("default")


def test_a_command_has_the_time_to_end_after_ctrl_c(tmp_path: Path) -> None:
    """Snakemake ends its jobs and takes its lock away; `subprocess.run` would kill it after a quarter of a second."""
    started, ended = tmp_path / "started", tmp_path / "ended"
    inner = (
        "import pathlib, time\n"
        f"try:\n    pathlib.Path({str(started)!r}).touch()\n    time.sleep(600)\n"
        f"except KeyboardInterrupt:\n    time.sleep(1)\n    pathlib.Path({str(ended)!r}).touch()\n"
    )
    outer = (
        "import signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # what a shell runs with & ignores it
        f"from polybatch.study.project import run_to_its_end\nrun_to_its_end([sys.executable, '-c', {inner!r}])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", outer],
        env={**os.environ, "PYTHONPATH": str(ROOT / "workflow")},
        stderr=subprocess.PIPE,
        start_new_session=True,  # a group of its own, as a shell gives it, to which the terminal sends Ctrl-C
    )
    try:
        wait_for(started)
        os.killpg(process.pid, signal.SIGINT)
        assert b"KeyboardInterrupt" in process.communicate(timeout=60)[1]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert ended.is_file()


def wait_for(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_files_go_over_the_default_unless_they_stand_alone(project: Path) -> None:
    (project / "over.yaml").write_text("kept: {b: [3]}\n")
    assert merged([Path("over.yaml")]) == {"study": {"name": "default", "seeds": [1]}, "kept": {"a": 1, "b": [3]}}
    alone = Path("workflow/studies/alone.yaml")
    assert merged([alone]) == {"standalone": True, "study": {"name": "alone"}}
    assert merged([alone, Path("over.yaml")])["kept"] == {"b": [3]}


def test_an_overlay_may_name_the_study_that_it_lies_over(project: Path) -> None:
    Path("mine.yaml").write_text("over: workflow/studies/alone.yaml\nstudy: {name: mine}\n")
    assert merged([Path("mine.yaml")]) == {
        "standalone": True,
        "over": "workflow/studies/alone.yaml",
        "study": {"name": "mine"},
    }
    Path("mine.yaml").write_text("over: config.yaml\n")
    with pytest.raises(ConfigError, match="lies over another") as error:
        merged([Path("mine.yaml")])
    assert error.value.where == "config.yaml"


@pytest.mark.parametrize("text", [None, "- a list\n", "a: [unclosed\n"])
def test_a_file_that_cannot_be_read_is_named(project: Path, text: str | None) -> None:
    if text is not None:
        (project / "bad.yaml").write_text(text)
    with pytest.raises(ConfigError, match="configuration file cannot be read") as error:
        merged([Path("bad.yaml")])
    assert error.value.where == "bad.yaml"


def test_a_file_that_is_nested_too_deep_is_named(project: Path) -> None:
    deep = "".join(f"{' ' * i}a:\n" for i in range(500))
    (project / "deep.yaml").write_text(f"{deep}{' ' * 500}1\n")
    with pytest.raises(ConfigError, match="nested too deep") as error:
        merged([Path("deep.yaml")])
    assert error.value.where == "deep.yaml" and "at most 50 levels" in error.value.expected


def test_keys_of_the_top_level_can_be_changed_as_snakemake_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert resolved([], collection="elsewhere")["collection"] == "elsewhere"
    assert resolved([])["collection"] == "homeassistant"


def test_a_folder_without_a_workflow_is_refused(project: Path) -> None:
    with pytest.raises(ConfigError, match="no folder of a Polybatch project"):
        require_project(project, command="verify")


def test_files_that_snakemake_would_make_again_are_read_from_its_summary() -> None:
    """Columns of snakemake 9: output_file, date, rule, log-file(s), status, plan."""
    rows = [
        "output_file\tdate\trule\tlog-file(s)\tstatus\tplan",
        "a.parquet\tThu Nov 26\tscore_run\tlog\tok\tno update",
        "b.parquet\tThu Nov 26\tscore_run\tlog\tok\tupdate pending",
        "c.parquet\t-\tscore_run\tlog\tmissing\tupdate pending",
    ]
    assert pending("\n".join(rows)) == {"b.parquet", "c.parquet"}
