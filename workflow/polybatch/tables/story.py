"""The first page of a version, for a reader with a minute: question, answer, picture, costs, origin of the data.

inputs: the manifest, the tables, the figures
outputs: a `Story`, as markdown (the head of README.md) and as an HTML page (summary.html)

The page ends where that reader may stop; how to read the tables, and all other tables and figures, stand behind it.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from polybatch.tables.forms.table import Table, to_markdown
from polybatch.tables.forms.webpage import bare_table, data_mark, page, picture, words
from polybatch.tables.names import Figure, is_measurement
from polybatch.tables.scores import DEFAULT_REFERENCE
from polybatch.tables.significance import LEVEL
from polybatch.tables.summary import UNTRAINED
from polybatch.tables.verdicts import cost_sentences, significance_sentences

PICTURE = "first_passages"
_PICTURE_WORDS = "Languages of the first passages that queries get from the pool of all languages, before and after."


class Chapter(NamedTuple):
    """One benchmark: its picture, "" where it has none; what came out; sentences of significance and of cost."""

    picture: str
    findings: Table
    against: str
    significance: list[str]
    order: str
    cost: list[str]


class Link(NamedTuple):
    """A file of the version, below the heading of its benchmark, or of none."""

    heading: str
    file: str
    words: str


class Story(NamedTuple):
    """The parts in the order of reading; `mark` is the data mark or ""."""

    title: str
    mark: str
    origin: str
    question: str
    chapters: list[Chapter]
    cost: str
    data: str
    links: list[Link]


def story_of(manifest: Mapping[str, Any], tables: Sequence[Table], figures: Sequence[Figure]) -> Story:
    """Puts the story of a version together."""
    config = manifest["config"]
    name = config.get("study", {}).get("name", "")
    found = [table for table in tables if table.name.startswith("findings-")]
    return Story(
        title=f"Study {name}, {manifest['version']}".replace("Study ,", "Study"),
        mark=str(config.get("data_mark") or ""),
        origin=_origin(manifest),
        question=_question(config),
        chapters=[_chapter(config, table, tables, figures) for table in found],
        cost=_cost(manifest),
        data=_data(config, tables),
        links=_links(tables, figures),
    )


def _chapter(config: Mapping[str, Any], findings: Table, tables: Sequence[Table], figures: Sequence[Figure]) -> Chapter:
    benchmark = findings.name.partition("-")[2]
    by_name = {table.name: table for table in tables}
    cost, order = by_name.get(f"cost-{benchmark}"), by_name.get(f"order-{benchmark}")
    reference = config.get("study", {}).get("reference", DEFAULT_REFERENCE)
    return Chapter(
        picture=next((f.name for f in figures if (f.kind, f.benchmark) == (PICTURE, benchmark)), ""),
        findings=findings,
        against=f"Beyond what the choice of queries explains (p < {LEVEL:g}), compared with {reference}:",
        significance=significance_sentences(cost) if cost else [],
        order=order.caption.partition(". ")[0] + "." if order else "",
        cost=cost_sentences(cost) if cost else [],
    )


def _origin(manifest: Mapping[str, Any]) -> str:
    git = manifest["git"]
    commit = f"commit {git['commit'][:12]}" if git["commit"] else "no commit of git"
    return f"Made {manifest['created']} from {commit}{', with uncommitted changes' if git['dirty'] else ''}."


def _links(tables: Sequence[Table], figures: Sequence[Figure]) -> list[Link]:
    """All tables and figures, benchmark by benchmark."""
    found = [Link(table.name.partition("-")[2], f"{table.name}.html", table.title) for table in tables]
    drawn = [Link(f.benchmark, f"{f.name}.svg", f"Figure {f.name.removesuffix(f'-{f.benchmark}')}") for f in figures]
    order = dict.fromkeys(link.heading for link in [*found, *drawn])
    places = {heading: place for place, heading in enumerate([*filter(None, order), ""])}
    return sorted([*found, *drawn], key=lambda link: places[link.heading])


def _question(config: Mapping[str, Any]) -> str:
    if is_measurement(config):
        return (
            "A retriever over passages in many languages may place those in the query's own language first, whether or "
            f"not they answer best. How much do these do so, as they come: {', '.join(config['study']['encoders'])}?"
        )
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
                source = f"{values['source']} ({values['license']})"
                told.append(f"{source}, {values['kept']:,} pairs kept, those held out among them")
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
        if chapter.significance:
            lines += [chapter.against, "", *(f"- {sentence}" for sentence in chapter.significance), ""]
        lines += [chapter.order, ""] if chapter.order else []
    return [*lines, f"**Cost.** {_costs(story)}", "", f"**Data.** {story.data}", ""]


def _costs(story: Story) -> str:
    """What the models cost, which is the same for all benchmarks, and what the study cost."""
    return " ".join([*(sentence for chapter in story.chapters[:1] for sentence in chapter.cost), story.cost])


def to_page(story: Story, folder: Path, narrow: Mapping[str, str] | None = None) -> str:
    """The story as an HTML page without outside parts.

    Args:
        story: What it tells.
        folder: Where the pictures lie.
        narrow: Name of a picture -> the same as an SVG for narrow screens, where there is one.
    """
    parts = [f"<h1>{html.escape(story.title)}</h1>", data_mark(story.mark), _paragraph(story.question, "told")]
    for chapter in story.chapters:
        parts += _chapter_parts(chapter, folder, narrow or {})
    parts += [
        f"<h2>What it cost</h2>{_paragraph(_costs(story))}",
        f"<h2>Where the data came from</h2>{_paragraph(story.data)}",
        _paragraph(story.origin, "notes"),
        *_link_parts(story.links),
    ]
    return page(story.title, parts, "story")


def _chapter_parts(chapter: Chapter, folder: Path, narrow: Mapping[str, str]) -> list[str]:
    """Answer, picture, table, and what is more than chance; how to read the table is folded away."""
    table = chapter.findings
    parts = [f"<h2>{html.escape(table.title)}</h2>", _paragraph(table.caption, "told")]
    if chapter.picture:
        small = narrow.get(chapter.picture)
        svg = (folder / f"{chapter.picture}.svg").read_bytes()
        parts.append(picture(svg, _PICTURE_WORDS, small.encode() if small else None))
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in table.notes)
    parts += [
        bare_table(table),
        f'<details><summary>How to read this table</summary><ul class="notes">{notes}</ul></details>',
    ]
    if chapter.significance:
        told = "".join(f"<li>{words(sentence)}</li>" for sentence in chapter.significance)
        parts += [_paragraph(chapter.against), f"<ul>{told}</ul>"]
    return parts + ([_paragraph(chapter.order)] if chapter.order else [])


def _link_parts(links: Sequence[Link]) -> list[str]:
    """Where the rest lies; Snakemake's report, which shows it all beside this page, hides these."""
    parts = [
        '<div class="links"><h2>All else</h2>',
        '<p><a href="README.md">All tables and figures on one page</a>; <a href="manifest.json">what they were made '
        "from</a>.</p>",
    ]
    for heading in dict.fromkeys(link.heading for link in links):
        mine = [link for link in links if link.heading == heading]
        listed = "".join(f'<li><a href="{html.escape(link.file)}">{html.escape(link.words)}</a></li>' for link in mine)
        title = f"Benchmark {heading}" if heading else "Training data and the making of the models"
        parts.append(f"<details><summary>{html.escape(title)}: {len(mine)}</summary><ul>{listed}</ul></details>")
    return [*parts, "</div>"]


def _paragraph(text: str, kind: str = "") -> str:
    return f"<p{f' class={chr(34)}{kind}{chr(34)}' if kind else ''}>{words(text)}</p>"
