"""The shape of the package: stages are the ends of imports, files and functions are short.

Which package may import which is held by import-linter (`make lint`, the contracts in pyproject.toml).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "workflow/polybatch"
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in MODULES.items()}
MEASUREMENTS = sorted((ROOT / "measurements").glob("*.py"))
# The command line starts stages by their names, and imports none.
COMMANDS = {"cli", "__main__"}
MOST_LINES, MOST_LINES_OF_A_FUNCTION = 400, 60


def stages() -> set[str]:
    """Modules with a `main`, which rules and people call."""
    has_main = {
        name
        for name, tree in TREES.items()
        if any(isinstance(n, ast.FunctionDef) and n.name == "main" for n in tree.body)
    }
    return has_main - COMMANDS


def imported(tree: ast.Module) -> Iterator[str]:
    """Modules of the package that a module imports, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "polybatch":
            module = (node.module or "").removeprefix("polybatch").lstrip(".")
            for alias in node.names:
                name = f"{module}.{alias.name}".lstrip(".")
                yield name if name in MODULES else module


def test_a_stage_is_imported_by_no_other_module() -> None:
    of_stages = stages()
    found = {(name, other) for name, tree in TREES.items() for other in imported(tree) if other in of_stages}
    assert not found


def test_every_module_lies_in_the_room_of_its_topic() -> None:
    flat = {name for name in MODULES if "." not in name and MODULES[name].name != "__init__.py"}
    assert flat <= COMMANDS


def test_rules_tests_and_docs_have_the_same_rooms() -> None:
    topics = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    rules = {path.stem for path in (ROOT / "rules").glob("*.smk")}
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    tests = {path.name for path in (ROOT / "tests/unit").iterdir() if path.is_dir()}
    # `core` and `config` are what all rules share (common.smk); profiles are what `cluster` is for; `export` is asked for
    # by hand, when a study is done; `search` makes no file that a rule could wait for.
    assert topics - rules == {"core", "config", "cluster", "export", "search"} and rules - topics == {"common"}
    assert topics - pages == {"core"}
    assert not topics - tests and tests - topics == {"measurements"}


@pytest.mark.parametrize("path", [*MODULES.values(), *MEASUREMENTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_short(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("name", MODULES)
def test_functions_are_short(name: str) -> None:
    functions = [n for n in ast.walk(TREES[name]) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = {f.name: lines for f in functions if (lines := f.end_lineno - f.lineno + 1) > MOST_LINES_OF_A_FUNCTION}
    assert not long


def test_temporary_folders_beside_outputs_have_names_by_which_they_are_found() -> None:
    """`files.scratch_folder` makes them: what a killed job leaves is removed by its name (`core.leftovers`)."""
    own = {"core.files", "tables.versions.versions"}  # the latter finds its own
    inside = {"collect.cleaning"}  # of such a folder
    made = {
        name
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("TemporaryDirectory", "mkdtemp")
        and any(word.arg == "dir" for word in node.keywords)
    }
    assert made == own | inside
