"""The command `polybatch`: its words, what it says to wrong ones, and that help costs no import."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from polybatch import __version__, cli
from polybatch.core.errors import ConfigError, DataError
from polybatch.study.project import require_project
from polybatch.tables.versions.compare import find_version
from polybatch.tables.versions.versions import newest

WORKFLOW = Path(__file__).parents[2] / "workflow"


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "polybatch", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(WORKFLOW), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("word", cli.COMMANDS)
def test_every_word_has_a_module_with_help_of_its_own(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        import_module(cli.COMMANDS[word].module).main(["--help"])
    assert ended.value.code == 0
    assert f"usage: polybatch {word} " in capsys.readouterr().out


def test_help_lists_every_word_and_can_be_asked_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    for asked in (["--help"], ["-h"], ["help"], ["help", "help"]):
        assert cli.main(asked) == 0
        told = capsys.readouterr().out
        assert all(f"  {word} " in told for word in cli.COMMANDS)
    with pytest.raises(SystemExit):
        cli.main(["help", "compare"])
    assert "usage: polybatch compare" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"polybatch {__version__}\n"


@pytest.mark.parametrize(
    ("word", "guess"),
    [
        ("shwo", "Did you mean `polybatch show`?"),
        ("Compare", "Did you mean `polybatch compare`?"),
        ("--plan", "is no option. Did you mean `polybatch plan`?"),
        ("xyz", "'xyz' is no command. `polybatch help` lists the commands: measure, plan"),
    ],
)
def test_an_unknown_word_is_told_with_the_nearest(word: str, guess: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([word]) == 2
    told = capsys.readouterr()
    assert guess in told.err
    assert told.out == ""


def test_no_word_is_told_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "usage: polybatch COMMAND" in capsys.readouterr().err


def test_help_imports_none_of_the_slow_libraries() -> None:
    """Time on a busy machine says little; what is imported is what takes the time."""
    code = (
        "import contextlib, io, sys\n"
        "from importlib import import_module\n"
        "from polybatch import cli\n"
        "cli.main(['--help'])\n"
        "assert not [name for name in sys.modules if name.startswith('polybatch.')][1:], sys.modules\n"
        "for command in cli.COMMANDS.values():\n"
        "    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "        import_module(command.module).main(['--help'])\n"
        "heavy = {'torch', 'transformers', 'snakemake', 'pandas', 'scipy', 'mteb', 'faiss', 'altair'}\n"
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(WORKFLOW)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"imported: {done.stderr}"


def test_outside_of_a_project_it_says_where_to_go(tmp_path: Path) -> None:
    done = run("plan", folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: This is no folder of a Polybatch project.\n  where: " + str(tmp_path))
    done = run("show", folder=tmp_path)
    assert done.returncode == 1
    assert "no folder results/tables in " + str(tmp_path) in done.stderr
    assert "Traceback" not in done.stderr


def test_plan_takes_a_snakefile_that_lies_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cd to that folder"):
        require_project(tmp_path, ["--configfile", "a.yaml"])
    require_project(tmp_path, ["--snakefile=x/Snakefile", "--directory", "x"])
    (tmp_path / "Snakefile").touch()
    require_project(tmp_path, [])


def test_tables_that_are_not_there_are_told_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no tables in"):
        newest(tmp_path / "mine")
    (tmp_path / "other/v1").mkdir(parents=True)
    with pytest.raises(DataError, match="tables of the studies other"):
        newest(tmp_path / "mine")
    with pytest.raises(DataError, match=r"not its study(.|\n)*--study NAME"):
        find_version("v1", tmp_path, None)
    with pytest.raises(DataError, match="versions here: v1"):
        find_version("2", tmp_path, "other")


def test_a_reader_that_goes_away_ends_it_without_a_word() -> None:
    command = f"'{sys.executable}' -m polybatch help compare | true; exit ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONPATH": str(WORKFLOW)}
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
