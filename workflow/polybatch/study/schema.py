"""Writes what follows from the declared options: the schema for editors, and the tables of docs/config.md.

inputs: the classes of polybatch.study.options
outputs: workflow/schemas/config.schema.json; docs/config.md, between its markers `<!-- options: <class> ... -->` and
    `<!-- end -->`, where `!name` leaves an option of the class out

`python -m polybatch.study.schema` writes both, `--check` says whether they are current.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from polybatch.benchmarks.options import ADAPTER_OPTIONS
from polybatch.collect.options import SECTIONS
from polybatch.core import stage
from polybatch.core.errors import DataError
from polybatch.core.files import atomic_path
from polybatch.core.option_types import choices_of, described, unwrapped
from polybatch.core.options import ABSENT, Options
from polybatch.study.options import Configuration

_MARKED = re.compile(r"(<!-- options: (\w+)((?: !?\w+)*) -->\n).*?(<!-- end -->)", re.DOTALL)
_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")
_TEXT_TO_YAML = r"\1.0e"  # YAML reads 3e-05 as text
_HEADER = ("| key | type | default | meaning |", "|---|---|---|---|")


def schema() -> dict[str, Any]:
    """The JSON schema of a configuration.

    Nothing is required in it: a file may be an overlay, and an entry may complete one of the catalogue. What is missing
    `snakemake -n` tells.
    """
    made = Configuration.model_json_schema()
    made["$defs"] |= {
        kind.__name__: _without_definitions(kind.model_json_schema(), made["$defs"]) for kind in SECTIONS.values()
    }
    entries = [{"$ref": f"#/$defs/{name}"} for name in dict.fromkeys(kind.__name__ for kind in SECTIONS.values())]
    sources = made["properties"]["sources"]
    sources["patternProperties"] = {key: {"anyOf": entries} for key in sources["patternProperties"]}
    for of_adapter in ADAPTER_OPTIONS.values():
        made["$defs"][of_adapter.__name__] = _without_definitions(of_adapter.model_json_schema(), made["$defs"])
    benchmark = made["$defs"]["ScoredBenchmarkSection"]["properties"]["options"]
    benchmark["anyOf"] = [{"$ref": f"#/$defs/{of_adapter.__name__}"} for of_adapter in ADAPTER_OPTIONS.values()]
    benchmark.pop("additionalProperties", None)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": "Written by `python -m polybatch.study.schema` from the declared options. Do not edit.",
        **_for_editors(made),
    }


def _without_definitions(own: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    shared |= own.pop("$defs", {})
    return own


def _for_editors(part: Any) -> Any:
    """Without what pydantic adds for itself, and with descriptions in plain text."""
    if isinstance(part, list):
        return [_for_editors(item) for item in part]
    if not isinstance(part, dict):
        return part
    kept = {key: value for key, value in part.items() if key not in ("required", "otherwise", "title")}
    if kept.get("default", "") is None:
        del kept["default"]
    if "patternProperties" in kept:
        kept["additionalProperties"] = False
    if isinstance(kept.get("description"), str):
        kept["description"] = _LINK.sub(r"\1", " ".join(kept["description"].split()))
    names = ("properties", "patternProperties", "$defs")
    return {
        key: {name: _for_editors(value) for name, value in value.items()} if key in names else _for_editors(value)
        for key, value in kept.items()
    }


def table(kind: type[Options], names: str = "") -> str:
    """The Markdown table of the options of a class: all, those that are named, or all but those named with a `!`."""
    wanted: list[str] = []
    unwanted: list[str] = []
    for name in names.split():
        (unwanted if name.startswith("!") else wanted).append(name.lstrip("!"))
    lines = list(_HEADER)
    for name, field in kind.model_fields.items():
        key = field.alias or name
        if key not in unwanted and (not wanted or key in wanted):
            cells = [f"`{key}`", _type(field), _default(field), field.description or ""]
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _type(field: FieldInfo) -> str:
    return re.sub(r"^an? | \(.*\)$", "", described(field.annotation, field.metadata, quote="`"))


def _default(field: FieldInfo) -> str:
    extra: Any = field.json_schema_extra
    if extra["otherwise"]:
        return str(extra["otherwise"])
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is ABSENT:
        return "`null`" if type(None) in map(_bare, choices_of(field.annotation)) else "none"
    spelled = json.dumps(value, ensure_ascii=False).replace('"', "")
    return f"`{re.sub('^([0-9]+)e', _TEXT_TO_YAML, spelled)}`"


def _bare(annotation: Any) -> Any:
    return unwrapped(annotation)[0]


def classes() -> dict[str, type[Options]]:
    """Every class of options by its name."""

    def below(kind: type[Options]) -> Iterator[type[Options]]:
        yield kind
        for one in kind.__subclasses__():
            yield from below(one)

    return {kind.__name__: kind for kind in below(Options)}


def documented(text: str) -> str:
    """docs/config.md with its tables written anew.

    Raises:
        DataError: A marker names a class that there is not.
    """
    known = classes()

    def written(match: re.Match[str]) -> str:
        opening, name, names, closing = match.groups()
        if name not in known:
            raise DataError("A marker of docs/config.md names no class of options.", found=name)
        return f"{opening}{table(known[name], names)}{closing}"

    return _MARKED.sub(written, text)


def files(root: Path) -> dict[Path, str]:
    """What the two files should hold."""
    docs = root / "docs/config.md"
    spelled = json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
    return {root / "workflow/schemas/config.schema.json": spelled, docs: documented(docs.read_text("utf-8"))}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.study.schema", description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=Path, default=Path(), help="the project's folder")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is not current")
    args = parser.parse_args(argv)
    stale = [path for path, text in files(args.root).items() if not path.exists() or path.read_text("utf-8") != text]
    if args.check and stale:
        raise DataError(
            "Files that follow from the declared options are not current.",
            found=", ".join(map(str, stale)),
            remedy="run python -m polybatch.study.schema",
        )
    for path in stale:
        with atomic_path(path) as partial:
            partial.write_text(files(args.root)[path], "utf-8")
        stage.log.info("%s written", path)


if __name__ == "__main__":
    stage.run(main)
