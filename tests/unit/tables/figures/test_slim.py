"""Small figures draw what large ones draw."""

import io
import json
from xml.etree import ElementTree as ET

import altair as alt
import pandas as pd
import pytest
import vl_convert
from PIL import Image, ImageChops

from polybatch.tables.figures.slim import slim_spec, slim_svg

_ROWS = pd.DataFrame(
    {
        "arm": ["x-y", "x-y", "0.5", "0.5"],
        "label": ["", "two, too", 'a "b"', "<4>"],
        "value": [0.1 + 0.2, None, 1 / 3, 4.0],
        "own": [True, False, False, True],
    }
)


@pytest.fixture(scope="module")
def spec():
    base = alt.Chart(_ROWS, title="Shares & more").encode(alt.X("label:N"), alt.Y("arm:N"))
    tiles = base.mark_rect(stroke="white").encode(alt.Color("value:Q", scale=alt.Scale(scheme="viridis")))
    text = base.mark_text(fontSize=11).encode(
        alt.Text("label:N"), color=alt.condition("datum.own", alt.value("red"), alt.value("blue"))
    )
    framed = base.transform_filter("datum.own").mark_rect(fillOpacity=0, stroke="black")
    points = alt.Chart(_ROWS).mark_point().encode(alt.X("value:Q"), alt.Y("arm:N"))
    return ((tiles + text + framed) | points).properties(title="What came out").to_dict()


def drawn(spec):
    return vl_convert.vegalite_to_svg(json.dumps(spec))


def pixels(svg):
    return Image.open(io.BytesIO(vl_convert.svg_to_png(svg))).convert("RGB")


def test_a_slim_svg_is_the_same_picture_in_fewer_bytes(spec):
    large = drawn(spec)
    small = slim_svg(large)
    assert len(small) < 0.5 * len(large)
    one, other = pixels(large), pixels(small)
    assert one.size == other.size
    difference = ImageChops.difference(one, other).convert("L")
    assert sum(difference.histogram()[1:]) < 0.001 * one.width * one.height  # edges, by the fourth decimal of a place


def test_a_slim_svg_names_the_figure_and_no_mark(spec):
    root = ET.fromstring(slim_svg(drawn(spec)))
    assert root.get("role") == "img" and root.get("aria-label") == "What came out"
    assert not any(
        name.startswith(("aria-", "class")) for element in root.iter() if element is not root for name in element.attrib
    )


def test_a_figure_drawn_twice_has_the_same_bytes(spec):
    assert slim_svg(drawn(spec)) == slim_svg(drawn(spec))


def test_data_as_csv_draws_the_same_with_every_digit(spec):
    small = slim_spec(spec)
    assert all(isinstance(rows, str) for rows in small["datasets"].values())
    assert repr(0.1 + 0.2) in next(iter(small["datasets"].values()))
    assert slim_svg(drawn(small)) == slim_svg(drawn(spec))


def test_data_that_csv_cannot_say_stays_as_it_is():
    rows = {"other": [{"a": 1}, {"b": 1}], "words": [{"a": "x"}, {"a": None}], "numbers": [{"a": 1}, {"a": None}]}
    small = slim_spec({"layer": [{"data": {"name": name}} for name in rows], "datasets": rows})
    assert small["datasets"]["other"] == rows["other"] and small["datasets"]["words"] == rows["words"]
    assert small["layer"][0] == {"data": {"name": "other"}}
    assert small["layer"][2]["data"]["format"] == {"type": "csv", "parse": {"a": "number"}}
