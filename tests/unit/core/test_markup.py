"""Markup: what is taken out of texts, and plain text that only looks like it."""

from __future__ import annotations

import pytest
from linear_time import require_linear

from polybatch.core.markup import strip_html, strip_links, strip_markdown

PLAIN = [
    "while i <n holds and x> 0",
    "i <b holds and a> 0",
    "List<String> and Map<String, List<Integer>>",
    "<Replacement Suggestions>",
    "Bob <bob@example.org>",
    "<https://x.org>",
    "2**3**2 and f(*args, **kwargs) and **kwargs",
    "my__long__name and other_name_",
    "a[0](b) and f[1](x)(y)",
    "1 < 2 > 0, <3",
    "AT&T & co",
    "5 * 3 * 2",
    "</>",
]


@pytest.mark.parametrize("text", PLAIN)
def test_plain_text_has_no_markup(text: str) -> None:
    assert strip_html(text) == (text, 0)
    assert strip_markdown(text) == (text, 0)


@pytest.mark.parametrize(
    ("text", "plain", "marks"),
    [
        ("the <b>red</b> lamp", "the red lamp", 2),
        ("H<sub>2</sub>O", "H2O", 2),
        ("<ul><li>Open</li><li>Close</li></ul>", "  Open  Close  ", 6),
        ("<a href='https://x.org/a?b=c&d=e' hidden>Read</a> on", "Read on", 2),
        ("one<br/>two<BR>three", "one two three", 2),
        ('<x-note id="1">custom</x-note><y/>', " custom  ", 3),
        ("<own>closed</own>", " closed ", 2),
        ("<!DOCTYPE html><p>x", "  x", 2),
        ("<script>if (a < b) {}</script>text<style>p {}</style><!-- <b> -->", " text ", 3),
        ("<script>never closed", " never closed", 1),
        ("Tom &amp; Jerry &#39;s caf&eacute;", "Tom & Jerry 's café", 3),
        ("a &lt;b&gt; c", "a <b> c", 2),
        ("<![CDATA[a < b]]> c ]]>", "a < b c ]]>", 1),
        ('<?xml version="1.0"?>x', " x", 1),
        ("a&#" + "1" * 5000 + ";b", "a\ufffdb", 1),
    ],
)
def test_html_is_taken_out(text: str, plain: str, marks: int) -> None:
    assert strip_html(text) == (plain, marks)


@pytest.mark.parametrize(
    ("text", "plain", "marks"),
    [
        ("see [the manual (part 2)](https://x.org/a_(b).html) now", "see the manual (part 2) now", 1),
        ('![a [nested] text](<x y.png> "title")', "a [nested] text", 1),
        ("**bold**, *slanted* and __both__", "bold, slanted and both", 3),
        ("# Heading\n- one\n* two", "Heading\none\ntwo", 3),
        ("`code` and ``more``", "code and more", 2),
        ("```python\nx = 1\n```\n", "x = 1\n", 2),
        ("**<b>x</b>** &amp; y", "x & y", 4),
    ],
)
def test_markdown_is_taken_out(text: str, plain: str, marks: int) -> None:
    assert strip_markdown(text) == (plain, marks)


def test_links_show_their_text() -> None:
    assert strip_links("[a](b) and [c]") == ("a and [c]", 1)


@pytest.mark.parametrize(
    "piece",
    [
        "<!--",
        "<script>",
        '<b a="',
        "<![CDATA[",
        "<?xml ",
        "&#1",
        "<b ",
        "[",
        "[a](",
        "[a]((",
        "<a a='b'",
        "**a ",
        "a** ",
        "&amp",
        "![",
        "`",
        "<",
        "</a",
    ],
)
def test_time_is_linear(piece: str) -> None:
    for closing in ("", "</script>", "-->", "]", ")", ">", "'", '"'):
        require_linear(strip_markdown, lambda size, end=closing: piece * (size // len(piece)) + end, 100_000)


def test_a_long_name_of_an_attribute_takes_no_longer() -> None:
    assert strip_html("<a " + "x" * 200_000 + ">b") == ("<a " + "x" * 200_000 + ">b", 0)
    require_linear(strip_html, lambda size: "<a " + "x" * size + ">b", 200_000)
