"""What all figures share: colours, title, fonts, and how they are saved.

Colours are those of Okabe and Ito, which readers with the common colour vision deficiencies tell apart. Some are too
light for text: names are printed in ink and tied to their marks by place.
"""

from __future__ import annotations

import io
import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polybatch.core.files import atomic_path, write_text
from polybatch.tables.figures.slim import slim_spec, slim_svg
from polybatch.tables.scores import View
from polybatch.tables.summary import UNTRAINED, Arm

_SAMPLING_COLOURS = {
    UNTRAINED: "#7f7f7f",
    "en-en": "#e69f00",
    "x-x": "#56b4e9",
    "x-x-mono": "#0072b2",
    "x-y": "#d55e00",
    "hybrid": "#009e73",
}
INK, GREY = "#1b1b1b", "#6b6b6b"
_FONT = "DejaVu Sans, Arial, sans-serif"


def colours(arms: Sequence[Arm], labels: Sequence[str]) -> dict[str, str]:
    """Label -> colour: the sampling's own; several arms of one sampling get its shades, the first the lightest."""
    shades: dict[str, list[str]] = {}
    for sampling in dict.fromkeys(arm.sampling for arm in arms):
        count = sum(arm.sampling == sampling for arm in arms)
        base = _SAMPLING_COLOURS.get(sampling, INK)
        shades[sampling] = [_lighter(base, 0.62 * (count - 1 - i) / max(1, count - 1)) for i in range(count)]
    return {label: shades[arm.sampling].pop(0) for arm, label in zip(arms, labels, strict=True)}


def _lighter(colour: str, share: float) -> str:
    """The colour mixed with `share` of white."""
    parts = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(part + (255 - part) * share):02x}" for part in parts)


def titled(
    chart: Any, view: View, title: str, lines: Sequence[str], *, name_benchmark: bool = True, width: int | None = None
) -> Any:
    """Title, the data mark as its second line, subtitle, and the look that all figures share.

    The benchmark's name stands behind the title, unless the title has it. `width` is that of a narrow figure, in
    pixels, at which title and subtitle are wrapped.
    """
    import altair as alt

    name = f"{title}, {view.benchmark}" if name_benchmark else title
    names = [name, *([view.data_mark] if view.data_mark else [])]
    if width:  # by the mean width of a letter in each size
        names = [part for line in names for part in textwrap.wrap(line, width // 10)]
        lines = textwrap.wrap(" ".join(lines), width * 2 // 15)
    return look(
        chart.properties(
            title=alt.TitleParams(
                names,
                subtitle=list(lines),
                anchor="start",
                fontSize=16,
                subtitleFontSize=13,
                subtitleColor=GREY,
                offset=14,
            )
        )
    )


def look(chart: Any) -> Any:
    """Font, background, padding and axes of every figure; for the outermost chart only, as Altair wants it."""
    return (
        chart.configure(font=_FONT, background="white", padding=16)
        .configure_axis(
            labelFontSize=12, titleFontSize=13, titleFontWeight="normal", gridColor="#e6e6e6", domainColor="#9a9a9a"
        )
        .configure_view(stroke=None)
    )


def to_svg(chart: Any) -> str:
    """The chart as an SVG."""
    return _drawn(slim_spec(chart.to_dict()))


def _drawn(spec: Mapping[str, Any]) -> str:
    import vl_convert

    return slim_svg(vl_convert.vegalite_to_svg(json.dumps(spec, sort_keys=True)))


def save(chart: Any, folder: Path, name: str) -> None:
    """Writes name.vl.json and name.svg, which is what that draws, into `folder`."""
    spec = slim_spec(chart.to_dict())
    text = json.dumps(spec, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    write_text(folder / f"{name}.vl.json", text + "\n")
    write_text(folder / f"{name}.svg", _drawn(spec))


def draw_pngs(folder: Path) -> None:
    """Makes name.png (1.5 pixels a point, 255 colours) beside every name.svg of a folder that has none."""
    import vl_convert

    for svg in sorted(folder.glob("*.svg")):
        if not svg.with_suffix(".png").exists():
            with atomic_path(svg.with_suffix(".png")) as partial:
                _save_small(vl_convert.svg_to_png(svg.read_text("utf-8"), scale=1.5), partial)


def _save_small(png: bytes, path: Path) -> None:
    """A picture with a palette: charts have few colours, and take an eighth of the bytes so."""
    from PIL import Image

    Image.open(io.BytesIO(png)).convert("RGB").quantize(255, dither=Image.Dither.NONE).save(path, "png", optimize=True)
