"""The YAML that the pages show, and a folder in which what it names is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[2]
# What the examples name, with a file that says of a folder what it is.
FILES = (
    *("my.jsonl", "mine.jsonl", "mine.csv", "english.jsonl", "faq.csv", "tickets.jsonl", "train-v1.1.json"),
    *("wiki.jsonl", "data/faq.csv", "data/entity-questions.zip"),
)
FOLDERS = {
    **dict.fromkeys(("translators/de", "translators/de-en"), "translator.json"),
    **dict.fromkeys(("models/mine", "models/my-encoder", "models/ours"), "config.json"),
    "data/support": "corpus.jsonl",
    "path/to/xquad-r": "en.json",
    "data/newsqa": "train.parquet",
    "data/help": "libreoffice-help-de.deb",
}
_BLOCK = re.compile(r"^```ya?ml\n(.*?)^```", re.MULTILINE | re.DOTALL)
# How an example says which study it lies over: `# mine.yaml: snakemake --configfile workflow/studies/paper.yaml mine.yaml`.
_OVER = re.compile(r"^# \S+\.yaml: snakemake --configfile (\S+) \S+\.yaml$")


class Example(NamedTuple):
    """A block of YAML of a page. `over` is the study that it lies over, from the project's folder."""

    page: str
    text: str

    @property
    def over(self) -> Path:
        found = _OVER.match(self.text.split("\n")[0])
        return ROOT / (found[1] if found else "config.yaml")


EXAMPLES = [
    Example(str(page.relative_to(ROOT)), text)
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md")))
    for text in _BLOCK.findall(page.read_text("utf-8"))
]


def lay_out(folder: Path) -> None:
    """Puts the files and folders that examples name into a folder, empty, beside the project's own resources."""
    for name in (*FILES, *(f"{name}/{inside}" for name, inside in FOLDERS.items())):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}" if name.endswith(".json") else "", "utf-8")
    (folder / "resources").symlink_to(ROOT / "resources")


def over(study: Path, overlay: dict[str, Any]) -> dict[str, Any]:
    """A study under an overlay, as Snakemake merges them: mappings in depth, all else replaced."""
    whole = yaml.safe_load(study.read_text("utf-8"))
    if study.name != "config.yaml" and not whole.get("standalone"):
        whole = over(ROOT / whole.get("over", "config.yaml"), whole)
    return overlay if overlay.get("standalone") else _merged(whole, overlay)


def under_the_default_study(overlay: dict[str, Any]) -> dict[str, Any]:
    """The default study under an overlay."""
    return over(ROOT / "config.yaml", overlay)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    deep = {key for key, value in above.items() if isinstance(value, dict) and isinstance(below.get(key), dict)}
    return {**below, **{key: _merged(below[key], above[key]) if key in deep else above[key] for key in above}}
