"""Lists and tables that come with data sets, read as data; errors say where."""

import ast
import csv
import json
import pathlib
from collections.abc import Sequence
from typing import Any


def read_lines(path: pathlib.Path) -> list[str]:
    """The lines of a text file that are not empty, without the blanks around them.

    Raises:
      ValueError: it is not UTF-8.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{str(path)!r} is not a text file: {error}.") from error
    return [line.strip() for line in lines if line.strip()]


def read_rows(path: pathlib.Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a comma-separated table with a header.

    Args:
      path: of the table.
      columns: which it must have; there may be more.

    Raises:
      ValueError: it lacks one of them, a row is too short, or it is not such a table.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [c for c in columns if c not in (reader.fieldnames or ())]
            if missing:
                raise ValueError(
                    f"{str(path)!r} has no column {missing[0]!r}, only "
                    f"{list(reader.fieldnames or ())}."
                )
            rows = []
            for row in reader:
                if any(row[column] is None for column in columns):
                    raise ValueError(
                        f"{str(path)!r}: line {reader.line_num} has too few cells."
                    )
                rows.append(row)
            return rows
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{str(path)!r} is not a table: {error}.") from error


def read_json(path: pathlib.Path) -> Any:
    """What a JSON file holds.

    Raises:
      ValueError: it is not one.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} is not a JSON file: {error}.") from error


def integer(row: dict[str, str], column: str) -> int:
    """The whole number in a cell.

    Raises:
      ValueError: it holds something else.
    """
    try:
        return int(row[column])
    except ValueError:
        raise ValueError(
            f"`{column}` must be a whole number, got {row[column]!r}."
        ) from None


def literal(row: dict[str, str], column: str) -> Any:
    """The Python literal in a cell: numbers, text, lists, tuples, dicts, nothing else.

    Raises:
      ValueError: it holds something else.
    """
    try:
        return ast.literal_eval(row[column])
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError(
            f"`{column}` must be a Python literal, got {row[column][:80]!r}."
        ) from None
