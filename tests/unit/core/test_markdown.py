"""What a user writes does not end a row of a table."""

from polybatch.core import markdown
from polybatch.training import model_card


def test_a_cell_is_one_line_and_one_cell():
    assert markdown.cell("CC BY 4.0\nand | MIT\n") == "CC BY 4.0 and \\| MIT"


def test_the_card_of_a_training_keeps_its_rows():
    record = {
        "languages": ["en"],
        "machine_translated_per_language": {"en": 0},
        "pairs_per_language": {"en": 7},
        "pairs_per_source": {"mine": 7},
        "pairs": 7,
        "validation_pairs": 2,
        "license": {"mine": "CC BY 4.0\nand | MIT\n"},
    }
    assert "| mine | 7 | CC BY 4.0 and \\| MIT |" in model_card.training_data(record)
