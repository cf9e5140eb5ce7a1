"""Figures in a fifth of their bytes: SVGs in which marks inherit what they share, Vega-Lite with its data as csv.

inputs: an SVG as Vega writes it, every mark with all of its attributes, a role and a label; a Vega-Lite specification
outputs: an SVG and a specification that draw the same picture

What goes from an SVG: classes; roles and labels of single marks (who has labels read out would hear thousands of
numbers, which the tables hold in rows and columns; the whole gets the figure's title as its label); marks that draw
nothing; values that are the default; groups that say nothing; decimals behind the third, of pixels. What the members of
a group share stands once, on the group.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree as ET

_SVG = "http://www.w3.org/2000/svg"
_DEFAULTS = {
    "opacity": "1",
    "fill-opacity": "1",
    "stroke-opacity": "1",
    "stroke-width": "1",
    "x2": "0",
    "y2": "0",
    "transform": "translate(0,0)",
    "display": "inline",
}
_TEXT = {"text", "tspan"}
_SHAPES = {"path", "rect", "circle", "ellipse", "polygon", "polyline"}
# Attributes that children inherit -> the elements whose picture depends on them (SVG 1.1, property index).
_INHERITED = {
    **dict.fromkeys(("font-family", "font-size", "font-weight", "font-style", "text-anchor"), _TEXT),
    **dict.fromkeys(("fill", "fill-opacity"), _TEXT | _SHAPES),
    **dict.fromkeys(("stroke", "stroke-width", "stroke-opacity", "stroke-dasharray"), _TEXT | _SHAPES | {"line"}),
}
_ASIDE = {"defs", "clipPath", "linearGradient"}  # not drawn where they stand
_PLACE = re.compile(r"translate\(([-\d.e]+),([-\d.e]+)\)")
_LONG_NUMBER = re.compile(r"-?\d+\.\d{4,}(?:e-?\d+)?|-?\d+(?:\.\d+)?e-\d+")
_NUMBERS = {"d", "x", "y", "x2", "y2", "transform"}
_GRADIENT = re.compile(r"gradient_\d+")
_COLOUR = re.compile(r"rgb\((\d+), ?(\d+), ?(\d+)\)")


def slim_svg(svg: str) -> str:
    """The SVG of Vega `svg` with the same picture in fewer bytes."""
    names: dict[str, str] = {}  # Vega numbers gradients through a process, not through a figure
    svg = _GRADIENT.sub(lambda found: names.setdefault(found[0], f"gradient_{len(names)}"), svg)
    root = ET.fromstring(svg)
    for element in root.iter():
        element.tag = element.tag.removeprefix(f"{{{_SVG}}}")
    title = _title(root)
    for element in _drawn(root):
        _shorten(element)
    _drop_unseen(root)
    _share(root)
    _unwrap(root)
    root.attrib |= {"xmlns": _SVG, "role": "img"} | ({"aria-label": title} if title else {})
    return ET.tostring(root, encoding="unicode").replace(" />", "/>")


def _title(root: ET.Element) -> str:
    """The words of the outermost title, which stands least deep."""
    found, level = None, [root]
    while level and found is None:
        found = next((element for element in level if "role-title-text" in element.get("class", "")), None)
        level = [child for element in level for child in element]
    return " ".join(text.strip() for text in found.itertext()) if found is not None else ""


def _drawn(element: ET.Element) -> Iterator[ET.Element]:
    """The element and what lies below it, without what is not drawn where it stands."""
    if element.tag not in _ASIDE:
        yield element
        for child in element:
            yield from _drawn(child)


def _shorten(element: ET.Element) -> None:
    """Takes out what does not draw or is the default, and writes colours and places of words briefly."""
    kept = {}
    for name, value in element.attrib.items():
        if name in ("class", "role", "pointer-events") or name.startswith("aria-") or _DEFAULTS.get(name) == value:
            continue
        text = _COLOUR.sub(lambda found: "#" + "".join(f"{int(part):02x}" for part in found.groups()), value)
        kept[name] = _LONG_NUMBER.sub(_rounded, text) if name in _NUMBERS else text
    place = _PLACE.fullmatch(kept.get("transform", ""))
    if element.tag == "text" and place and not len(element):
        del kept["transform"]
        kept = {"x": place[1], "y": place[2], **kept}
    element.attrib.clear()
    element.attrib.update(kept)


def _rounded(number: re.Match[str]) -> str:
    text = f"{float(number[0]):.3f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _drop_unseen(element: ET.Element) -> None:
    """Takes out shapes without a colour, words without a letter, and groups of nothing."""
    for child in list(element):
        if child.tag in _ASIDE:
            continue
        _drop_unseen(child)
        shape = child.tag in _SHAPES and not {"fill", "stroke"} & set(child.attrib)
        if shape or (child.tag in {"g", "text"} and not len(child) and not child.text):
            element.remove(child)


def _share(element: ET.Element) -> None:
    """Moves what children have in common to the group, from the leaves up."""
    children = [child for child in element if child.tag not in _ASIDE]
    for child in children:
        _share(child)
    if element.tag != "g":
        return
    for name in _INHERITED:
        values = Counter(child.get(name) for child in children if name in child.attrib)
        if not values or any(_needs(child, name) for child in children):
            continue
        common = values.most_common(1)[0][0]
        element.set(name, str(common))
        for child in children:
            if child.get(name) == common:
                del child.attrib[name]


def _needs(element: ET.Element, name: str) -> bool:
    """Whether something below, or the element itself, is drawn by the value that it inherits."""
    if element.tag in _ASIDE or name in element.attrib:
        return False
    return element.tag in _INHERITED[name] or any(_needs(child, name) for child in element)


def _unwrap(element: ET.Element) -> None:
    """Puts the members of groups that say nothing in their place."""
    members: list[ET.Element] = []
    for child in element:
        _unwrap(child)
        members += list(child) if child.tag == "g" and not child.attrib else [child]
    element[:] = members


def slim_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A Vega-Lite specification with its data as csv, where csv can say them: every number keeps its digits.

    A dataset stays a list of rows where rows have other fields than the first, or where a column holds something else
    than truth values, words, or numbers of which some may lack.
    """
    rows_of = spec.get("datasets") or {}
    kinds = {name: kind for name, rows in rows_of.items() if (kind := _kinds(rows))}
    datasets = {name: _csv(rows) if name in kinds else rows for name, rows in rows_of.items()}
    named: dict[str, Any] = _with_format({key: part for key, part in spec.items() if key != "datasets"}, kinds)
    return named | ({"datasets": datasets} if datasets else {})


def _kinds(rows: Any) -> dict[str, str]:
    """Field -> how Vega is to read it from csv; empty where csv cannot say the rows."""
    if not isinstance(rows, list) or not rows or any(list(row) != list(rows[0]) for row in rows):
        return {}
    kinds = {field: _kind([row[field] for row in rows]) for field in rows[0]}
    return kinds if all(kinds.values()) else {}


def _kind(values: Sequence[Any]) -> str:
    """`boolean`, `number` or `string`; "" for what csv cannot say."""
    if all(isinstance(value, bool) for value in values):
        return "boolean"
    if all(value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)) for value in values):
        return "number"
    return "string" if all(isinstance(value, str) for value in values) else ""


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(rows[0])
    writer.writerows(
        [str(value).lower() if isinstance(value, bool) else value for value in row.values()] for row in rows
    )
    return out.getvalue()


def _with_format(part: Any, kinds: Mapping[str, Mapping[str, str]]) -> Any:
    """The specification in which every use of a dataset that is csv says so.

    Words are what csv holds by itself: Vega would read an empty one as null if it were told to read words.
    """
    if isinstance(part, list):
        return [_with_format(member, kinds) for member in part]
    if not isinstance(part, Mapping):
        return part
    found = {key: _with_format(member, kinds) for key, member in part.items()}
    data = found.get("data")
    if isinstance(data, Mapping) and data.get("name") in kinds:
        parse = {field: kind for field, kind in kinds[data["name"]].items() if kind != "string"}
        found["data"] = {**data, "format": {"type": "csv", "parse": parse}}
    return found
