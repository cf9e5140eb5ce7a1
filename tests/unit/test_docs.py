"""What the pages say is there, is there: links and their headings, modules, and the targets of make and Snakemake."""

from __future__ import annotations

import ast
import itertools
import json
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from polybatch import __version__

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "workflow/polybatch"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "results/README.md", *sorted(ROOT.glob("docs/**/*.md"))]
# Pages of which links alone are looked at: what is written of older states names what was there then.
LINKED = [
    *PAGES,
    ROOT / "CHANGELOG.md",
    *sorted(ROOT.glob("measurements/*.md")),
    *sorted(ROOT.glob("measurements/notes/*.md")),
]
# Text that names modules: pages, rules, and docstrings, comments and messages of all code.
TEXTS = [
    *PAGES,
    ROOT / "Snakefile",
    *(path for folder in ("rules", "profiles") for path in sorted((ROOT / folder).rglob("*")) if path.is_file()),
    *(path for folder in ("workflow", "tests", "measurements") for path in sorted((ROOT / folder).rglob("*.py"))),
]
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
TOPICS = {name.split(".")[0] for name in MODULES if "." in name}
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
FILE_ENDINGS = {
    ".json",
    ".yaml",
    ".md",
    ".parquet",
    ".jsonl",
    ".npy",
    ".arrow",
    ".faiss",
    ".py",
    ".csv",
    ".bin",
    ".model",
}
# Names that models give their prompts.
NOT_OURS = {"retrieval.query", "retrieval.passage"}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def headings(page: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them."""
    found: set[str] = set()
    for title in re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        found.add(next(s for s in (slug, *(f"{slug}-{n}" for n in range(1, 99))) if s not in found))
    return found


@pytest.mark.parametrize("page", LINKED, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    prose = CODE.sub("", FENCE.sub("", page.read_text("utf-8")))
    faults = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        if "://" in target:
            continue
        if not place.exists() or (anchor and anchor not in headings(place)):
            faults.append(target)
    assert not faults


@cache
def names_in(module: str) -> set[str]:
    """What a module defines at its top, and `Class.name` for what its classes do."""
    found: set[str] = set()
    tree = ast.parse(MODULES[module].read_text("utf-8"))
    for node in ast.walk(ast.Module([n for n in tree.body if not isinstance(n, ast.ClassDef | ast.FunctionDef)], [])):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        if isinstance(node, ast.alias):
            found.add(node.asname or node.name)
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{n.name}" for n in node.body if isinstance(n, ast.FunctionDef)}
    return found


def is_known(dotted: str) -> bool:
    """Whether a dotted name below the package is a module, or a name in one."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        if (module := ".".join(parts[:length])) in MODULES:
            rest = ".".join(parts[length:])
            return not rest or rest in names_in(module)
    return False


def test_every_module_that_is_named_exists() -> None:
    found = {
        f"{named(path)}: polybatch{name}"
        for path in TEXTS
        for name in re.findall(r"\bpolybatch((?:\.(?!__)[A-Za-z_]\w*)+)\b(?!-)", path.read_text("utf-8"))
        if path != Path(__file__) and not is_known(name.lstrip(".").removesuffix(".py"))
    }
    assert not found


@cache
def option_names() -> set[str]:
    """`section.key` of every option of the configuration, by its schema."""
    schema = json.loads((ROOT / "workflow/schemas/config.schema.json").read_text("utf-8"))

    def keys(part: dict) -> Iterator[str]:
        part = schema["$defs"][part["$ref"].rsplit("/", 1)[1]] if "$ref" in part else part
        for one in (*part.get("anyOf", ()), *([part["items"]] if "items" in part else ())):
            yield from keys(one)
        for entry in part.get("patternProperties", {}).values():
            yield from keys(entry)
        for key, value in part.get("properties", {}).items():
            yield key
            yield from (f"{key}.{below}" for below in keys(value))

    return set(keys(schema))


def test_names_in_the_pages_are_modules_or_options() -> None:
    """`training.sampling` is a module, `training.precision` an option; `mining.py`, which was a file once, is neither."""
    known_files = {path.name for path in ROOT.rglob("*.py") if ".venv" not in path.parts}
    faults = set()
    for page in PAGES:
        for text in CODE.findall(FENCE.sub("", page.read_text("utf-8"))):
            if re.fullmatch(r"[\w/]+\.py", text) and Path(text).name not in known_files:
                faults.add(f"{named(page)}: {text}")
            if re.fullmatch(r"[a-z_]+(\.\w+)+", text) and text.split(".")[0] in TOPICS:
                is_file = text.endswith((".md", ".smk", ".yaml", ".json"))
                if not is_file and not is_known(text) and text not in option_names() | NOT_OURS:
                    faults.add(f"{named(page)}: {text}")
    assert not faults


def written_out(name: str) -> Iterator[str]:
    """The modules that a docstring may mean by a name: docstrings leave out what stands before a module's own name."""
    head, _, rest = name.partition(".")
    yield name
    yield from (f"{topic}.{name}" for topic in TOPICS)
    yield from (f"{module}.{rest}" for module in MODULES if module.rpartition(".")[2] == head)


@pytest.mark.parametrize("module", MODULES)
def test_names_in_docstrings_exist(module: str) -> None:
    """`text.same_key` is a function, `mining.mine` was one."""
    heads = TOPICS | {name.rpartition(".")[2] for name in MODULES}
    nodes = ast.walk(ast.parse(MODULES[module].read_text("utf-8")))
    documented = [n for n in nodes if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef)]
    named_there = {
        name
        for node in documented
        for name in re.findall(r"`([a-z_]+(?:\.[A-Za-z_]\w*)+)`", ast.get_docstring(node) or "")
        if name.split(".")[0] in heads and Path(name).suffix not in FILE_ENDINGS
    }
    assert not {n for n in named_there if not any(map(is_known, written_out(n))) and n not in option_names()}


@pytest.mark.parametrize("topic", sorted(TOPICS))
def test_a_topics_page_names_its_modules(topic: str) -> None:
    page = ROOT / "docs" / ("pipeline.md" if topic == "core" else f"{topic}.md")
    listed = set(re.findall(rf"^\| `({topic}\.[\w.]+)` \|", page.read_text("utf-8"), re.MULTILINE))
    assert listed == {
        name for name, path in MODULES.items() if name.startswith(f"{topic}.") and path.stem != "__init__"
    }


def commands(page: Path, program: str) -> Iterator[str]:
    """What follows a program's name where a page shows it as code, up to the first option."""
    text = page.read_text("utf-8")
    shown = [*FENCE.findall(text), *CODE.findall(FENCE.sub("", text))]
    for line in "\n".join(shown).splitlines():
        yield from re.findall(rf"(?:^|[ '\"`;&]){program}((?: [a-z_][a-z_-]*\b(?![=.:/]))+)", line.split("#")[0])


def test_every_target_of_make_exists() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named_targets = {word for page in PAGES for words in commands(page, "make") for word in words.split()}
    assert {"demo", "test"} <= named_targets <= targets


def test_every_target_of_snakemake_exists() -> None:
    rules = "\n".join(path.read_text("utf-8") for path in (ROOT / "Snakefile", *ROOT.glob("rules/*.smk")))
    targets = set(re.findall(r"^\s*rule (\w+):", rules, re.MULTILINE))
    named_targets = {word for page in PAGES for words in commands(page, "snakemake") for word in words.split()}
    assert {"tables", "prefetch"} <= named_targets <= targets


def test_the_citation_is_of_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert (cited["version"], cited["license"]) == (__version__, project["license"])
    assert cited["abstract"] == f"{project['description']}."
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def environments() -> dict[str, str]:
    """The environment of each rule that has one: its own, or that of the rule that it is made of."""
    found: dict[str, str] = {}
    for path in sorted(ROOT.glob("rules/*.smk")):
        text = path.read_text("utf-8")
        heads = r"^ *(?:use rule (?P<of>\w+) as (?P<made>\w+) with|rule (?P<name>\w+)):\n"
        parts = list(re.finditer(heads, text, re.MULTILINE))
        for part, end in itertools.zip_longest(parts, (after.start() for after in parts[1:])):
            own = re.search(r"envs/(\w+\.yaml)", text[part.end() : end])
            if environment := own[1] if own else found.get(part["of"] or ""):
                found[part["name"] or part["made"]] = environment
    return found


def test_the_table_of_environments_names_every_rule_that_has_one() -> None:
    text = (ROOT / "docs/dependencies.md").read_text("utf-8")
    rows = re.findall(r"^\| `envs/(\w+\.yaml)` \| (.+) \|$", text, re.MULTILINE)
    assert {rule: file for file, rules in rows for rule in CODE.findall(rules)} == environments()
