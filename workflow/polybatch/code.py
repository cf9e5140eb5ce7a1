"""A digest of a stage's code, so that Snakemake re-runs a stage when it changed and not when it was touched.

Counted is what runs: the syntax trees of the stage's module and of every module of this package that it
imports, directly or not, without comments and docstrings.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from pathlib import Path

_PACKAGE = Path(__file__).parent


def code_digest(stage: str) -> str:
    """Sixteen hexadecimal digits for the module `polybatch.<stage>` and what it imports."""
    digest = hashlib.sha256()
    for name in sorted(_closure(stage)):
        digest.update(f"{name}\0{_module(name)[0]}\0".encode())
    return digest.hexdigest()[:16]


@functools.cache
def _closure(stage: str) -> frozenset[str]:
    found: set[str] = set()
    waiting = [stage]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _module(name)[1]
    return frozenset(found)


@functools.cache
def _module(name: str) -> tuple[str, tuple[str, ...]]:
    """A module's code without comments and docstrings, and the modules of this package that it imports anywhere.

    One walk gives both, and the tree is not kept: a Snakefile asks for all stages at every start.
    """
    tree = ast.parse((_PACKAGE / f"{name}.py").read_text("utf-8"))
    imports: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node, False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            imports += _imported(node)
    return ast.unparse(tree), tuple(name for name in dict.fromkeys(imports) if (_PACKAGE / f"{name}.py").exists())


def _imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    """Modules of this package that one import statement names; names of other things may be among them."""
    if isinstance(node, ast.Import):
        return [alias.name.split(".")[1] for alias in node.names if alias.name.startswith("polybatch.")]
    if node.module == "polybatch":
        return [alias.name for alias in node.names]
    module = node.module or ""
    return [module.split(".")[1]] if module.startswith("polybatch.") else []
