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
        digest.update(f"{name}\0{_source(name)}\0".encode())
    return digest.hexdigest()[:16]


@functools.cache
def _closure(stage: str) -> frozenset[str]:
    found: set[str] = set()
    waiting = [stage]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _imports(name)
    return frozenset(found)


@functools.cache
def _tree(name: str) -> ast.Module:
    tree = ast.parse((_PACKAGE / f"{name}.py").read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree


@functools.cache
def _source(name: str) -> str:
    return ast.unparse(_tree(name))


def _imports(name: str) -> list[str]:
    """Modules of this package imported anywhere in the module, inside functions too."""
    found = []
    for node in ast.walk(_tree(name)):
        if isinstance(node, ast.ImportFrom) and node.module == "polybatch":
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("polybatch."):
            found.append(str(node.module).split(".")[1])
        elif isinstance(node, ast.Import):
            found += [a.name.split(".")[1] for a in node.names if a.name.startswith("polybatch.")]
    return [module for module in found if (_PACKAGE / f"{module}.py").exists()]
