"""Text of a user's in a Markdown table.

inputs: any text
outputs: the same, which neither ends its cell nor its row
"""

from __future__ import annotations


def cell(text: str) -> str:
    """The text on one line, also where it has several, as a licence of the configuration may."""
    return " ".join(text.split()).replace("|", "\\|")
