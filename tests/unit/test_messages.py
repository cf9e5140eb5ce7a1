"""What messages tell a user to write is there to be written."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "workflow/polybatch"
FACTS = {"expected", "found", "where", "remedy"}
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
# Of other programs that messages name, and of stages that another topic's messages send the user to.
ELSEWHERE = {
    "--configfile": "snakemake",
    "--forcerun": "snakemake",
    "--profile": "snakemake",
    "--slurm-exclude-failed-nodes": "snakemake",
    "--test-only": "sbatch",
    "--wrap": "sbatch",
    "--extract": "dpkg-deb",
    "--editable": "pip",
    "--yes": "pip",
    "--gpu": "cluster.launch",
    "--distributed": "cluster.launch",
}


def texts(node: ast.AST) -> str:
    """All text within an expression, f-strings' among it."""
    parts = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return " ".join(parts)


def test_flags_that_messages_name_are_those_of_the_topics_commands() -> None:
    """A flag of another topic's stage is none of the command that the message is told by."""
    declared: dict[str, set[str]] = defaultdict(set)
    told: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for path in sorted(PACKAGE.rglob("*.py")):
        topic = path.relative_to(PACKAGE).parts[0]
        tree = ast.parse(path.read_text("utf-8"))
        names = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            declared[topic] |= {texts(word) for word in node.args if FLAG.fullmatch(texts(word))}
            if any(isinstance(word, ast.JoinedStr) and texts(word).startswith("--") for word in node.args):
                declared[topic] |= {f"--{name.replace('_', '-')}" for name in names}  # of a table of flags
            for keyword in node.keywords:
                if keyword.arg in FACTS:
                    told[topic] |= {(flag, path.name) for flag in FLAG.findall(texts(keyword.value))}
    assert sum(map(len, told.values())) > 20
    unknown = {
        f"{topic}/{name}: {flag}"
        for topic, flags in told.items()
        for flag, name in flags
        if flag not in declared[topic] and flag not in ELSEWHERE
    }
    assert not unknown
