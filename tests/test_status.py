"""Every method says what it rests on, on its page and in the table alike."""

import pathlib
import re

import pytest

from jaxattr._registry import METHODS

TABLE = pathlib.Path(__file__).resolve().parents[1] / "docs" / "methods.md"
WORDS = ("verified", "from code", "our reading")


def said(text):
    text = " ".join(text.lower().split())
    return {word for word in WORDS if re.search(rf"\b{word}\b", text)}


@pytest.mark.parametrize("name", METHODS)
def test_docstring_and_table_say_the_same(name):
    in_table = set()
    for line in TABLE.read_text().splitlines():
        cells = line.split("|")
        if len(cells) == 6 and re.search(rf"`{name}\b", cells[1]):
            in_table |= said(cells[3])
    assert in_table
    assert said(METHODS[name].transform.__doc__) == in_table
