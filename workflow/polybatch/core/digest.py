"""A digest of a stage's code, so that Snakemake re-runs a stage when it changed and not when it was touched.

Counted is what runs: the syntax trees of the stage's module and of every module of this package that it
imports, directly or not, without comments and docstrings.

To parse all modules takes a second, and every Snakemake asks, the two inside of each job of a cluster among them. So
what a module's text comes to is kept beside Snakemake's own records, under a digest of that text.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import sys
from pathlib import Path

from polybatch.core.errors import DataError
from polybatch.core.files import read_json, write_json

_PACKAGE = Path(__file__).parents[1]
# Snakemake's folder, in the working directory. Where there is none, nothing is kept.
_RECORDS = Path(".snakemake")
_KEPT = "polybatch-code.json"


def code_digest(stage: str) -> str:
    """A digest of a stage's code.

    Args:
        stage: A module by its name below this package, `training.train`, say.

    Returns:
        Sixteen hexadecimal digits for the module, the packages that hold it, and all that these import from here.

    Raises:
        KeyError: There is no such module.
    """
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
            waiting += [*_module(name)[1], *_packages_of(name)]
    return frozenset(found)


@functools.cache
def _module(name: str) -> tuple[str, list[str]]:
    """A digest of a module's code, and the modules of this package that it imports anywhere."""
    digest, imports = _parsed_modules()[name]
    return digest, [other for other in imports if other in _parsed_modules()]


@functools.cache
def _parsed_modules() -> dict[str, tuple[str, list[str]]]:
    """Name -> (digest of its code, names that it may import from here), for every module of this package."""
    known = _read_kept()
    # How a tree is written out is a matter of Python's version.
    version = f"{sys.version_info[:2]}".encode()
    texts = {_dotted(path): path.read_bytes() for path in sorted(_PACKAGE.rglob("*.py"))}
    keys = {name: hashlib.sha256(version + text).hexdigest() for name, text in texts.items()}
    found = {key: known.get(key) or _parse(texts[name]) for name, key in keys.items()}
    if found.keys() - known.keys():
        _keep(found)
    return {name: found[key] for name, key in keys.items()}


def _parse(text: bytes) -> tuple[str, list[str]]:
    tree = ast.parse(text)
    imports: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node, False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            imports += _imported(node)
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest(), list(dict.fromkeys(imports))


def _read_kept() -> dict[str, tuple[str, list[str]]]:
    """Digest of a text -> what it came to. What cannot be read is parsed again."""
    try:
        kept = read_json(_RECORDS / _KEPT)
        return {str(key): (str(digest), list(map(str, imports))) for key, (digest, imports) in kept.items()}
    except (DataError, ValueError, TypeError):
        return {}


def _keep(found: dict[str, tuple[str, list[str]]]) -> None:
    if _RECORDS.is_dir():
        with contextlib.suppress(OSError):
            write_json(_RECORDS / _KEPT, found)


def _imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    """Modules of this package that one import statement names; names of other things may be among them."""
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[2] for alias in node.names if alias.name.startswith("polybatch.")]
    root, _, module = (node.module or "").partition(".")
    if root != "polybatch":
        return []
    # `from polybatch.core import stage` names a module, `from polybatch.core.stage import run` what is in one.
    within = [f"{module}.{alias.name}".lstrip(".") for alias in node.names]
    return [*within, module] if module else within


def _dotted(path: Path) -> str:
    """The name of a module below this package; a package's own module has the package's name."""
    parts = path.relative_to(_PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _packages_of(name: str) -> list[str]:
    """The packages that Python imports before a module: their own modules run too."""
    parts = name.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]
