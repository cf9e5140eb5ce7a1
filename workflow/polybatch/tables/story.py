"""The first page of a version, for a reader with a minute: question, picture, findings, costs, origin of the data.

inputs: the manifest, the tables, the figures
outputs: a `Story`, as markdown (the head of README.md) and as an HTML page (summary.html)
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from polybatch.tables.forms.table import Table, to_markdown
from polybatch.tables.forms.webpage import bare_table, data_mark, page, picture
from polybatch.tables.names import Figure
from polybatch.tables.summary import UNTRAINED

PICTURE = "first_passages"
_PICTURE_WORDS = "Languages of the first passages that queries get from the pool of all languages, before and after."


class Chapter(NamedTuple):
    """One benchmark: its picture, "" where it has none, and what came out."""

    picture: str
    findings: Table


class Story(NamedTuple):
    """The parts in the order of reading; `mark` is the data mark or ""."""

    title: str
    mark: str
    question: str
    chapters: list[Chapter]
    cost: str
    data: str


def story_of(manifest: Mapping[str, Any], tables: Sequence[Table], figures: Sequence[Figure]) -> Story:
    """Puts the story of a version together."""
    config = manifest["config"]
    name = config.get("study", {}).get("name", "")
    drawn = {figure.benchmark: figure.name for figure in figures if figure.kind == PICTURE}
    found = [table for table in tables if table.name.startswith("findings-")]
    return Story(
        title=f"Study {name}, {manifest['version']}".replace("Study ,", "Study"),
        mark=str(config.get("data_mark") or ""),
        question=_question(config),
        chapters=[Chapter(drawn.get(table.name.partition("-")[2], ""), table) for table in found],
        cost=_cost(manifest),
        data=_data(config, tables),
    )


def _question(config: Mapping[str, Any]) -> str:
    entries = [run.get("sampling", "") for run in config.get("study", {}).get("runs", [])]
    samplings = [name for name in dict.fromkeys(entries) if name != UNTRAINED]
    trained = f" ({', '.join(samplings)})" if samplings else ""
    return (
        "A retriever over passages in many languages may place those in the query's own language first, whether or "
        f"not they answer best. What do ways of filling training batches{trained} change: within a language, across "
        "languages, and in one pool of all languages?"
    )


def _cost(manifest: Mapping[str, Any]) -> str:
    seconds = {name: stage["wall_seconds"] for name, stage in manifest["timings"].items()}
    hardware = manifest["hardware"]
    machine = f"{hardware['processor']}, {hardware['cores']} cores, {hardware['memory_gib']} GiB"
    machine += f", {', '.join(hardware['gpus'])}" if hardware["gpus"] else ", no GPU"
    if not seconds:
        return f"No times were recorded. The tables were made on {machine}."
    longest = sorted(seconds, key=lambda name: -seconds[name])[:3]
    parts = ", ".join(f"{name} {minutes(seconds[name])}" for name in longest)
    return f"{minutes(sum(seconds.values()))} of work over all stages ({parts}). The tables were made on {machine}."


def minutes(seconds: float) -> str:
    """Seconds as people say them: 40 seconds, 12 minutes, 3.5 hours."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def _data(config: Mapping[str, Any], tables: Sequence[Table]) -> str:
    """Sources with licence and pairs kept, by the table `data`; languages trained and evaluated."""
    cleaned = next((table for table in tables if table.name == "data"), None)
    told = []
    if cleaned:
        keys = [column.key.removeprefix("text.") for column in cleaned.columns]
        for row in cleaned.rows:
            values = {key: cell.value for key, cell in zip(keys, row, strict=True)}
            if values.get("license"):
                told.append(f"{values['source']} ({values['license']}), {values['kept']:,} training pairs kept")
    languages = config.get("languages") or {}
    trained, evaluated = (languages.get(name) or [] for name in ("train", "evaluate"))
    lines = [f"{'; '.join(told)}."] if told else []
    lines += [f"Trained on {', '.join(trained)}; evaluated on {', '.join(evaluated)}."] if trained and evaluated else []
    return " ".join(lines) or "Not recorded."


def to_markdown_head(story: Story) -> list[str]:
    """The lines of the story, for the head of the front page."""
    lines = [f"# {story.title}", "", *([f"> **{story.mark}**", ""] if story.mark else []), story.question, ""]
    for chapter in story.chapters:
        lines += [f"![{_PICTURE_WORDS}]({chapter.picture}.svg)", ""] if chapter.picture else []
        lines += [to_markdown(chapter.findings, level=2)]
    return [*lines, f"**Cost.** {story.cost}", "", f"**Data.** {story.data}", ""]


def to_page(story: Story, folder: Path) -> str:
    """The story as an HTML page without outside parts; pictures are read from `folder`."""
    parts = [f"<h1>{html.escape(story.title)}</h1>", data_mark(story.mark), _paragraph(story.question, "told")]
    for chapter in story.chapters:
        table = chapter.findings
        parts.append(f"<h2>{html.escape(table.title)}</h2>")
        if chapter.picture:
            parts.append(picture((folder / f"{chapter.picture}.svg").read_bytes(), _PICTURE_WORDS))
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in table.notes)
        parts += [bare_table(table), _paragraph(table.caption, "told"), f'<ul class="notes">{notes}</ul>']
    parts += [
        f"<h2>What it cost</h2>{_paragraph(story.cost)}",
        f"<h2>Where the data came from</h2>{_paragraph(story.data)}",
        _paragraph(
            "All tables and figures: README.md beside this page. What they were made from: manifest.json.", "notes"
        ),
    ]
    return page(story.title, parts)


def _paragraph(text: str, kind: str = "") -> str:
    return f"<p{f' class={chr(34)}{kind}{chr(34)}' if kind else ''}>{html.escape(text)}</p>"
