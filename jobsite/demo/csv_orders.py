"""Orders from a CSV file: all of it is checked, and every mistake named, before anything is written."""

from __future__ import annotations

import csv
import io
from typing import NamedTuple

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from jobsite.demo.models import Order, Product
from jobsite.demo.orders import MAX_QUANTITY, OrderLine

COLUMNS = ("sku", "quantity", "email")
MAX_BYTES = 1024 * 1024
MAX_LINES = 1000
MAX_MISTAKES = 50
MAX_EMAIL = Order._meta.get_field("email").max_length or 254
HEADER_HINT = f"The first line must be: {','.join(COLUMNS)}"


class Mistake(NamedTuple):
    """What is wrong in a file. ``line`` counts from 1; 0 and an empty ``column`` mean the file or line as a whole."""

    line: int
    column: str
    message: str  # what is wrong, and how to mend it

    def __str__(self) -> str:
        where = ", ".join([f"line {self.line}"] * (self.line > 0) + [f"column {self.column}"] * bool(self.column))
        return f"{where}: {self.message}" if where else self.message


class InvalidOrders(Exception):
    """The file cannot be taken; ``mistakes`` says why, the first 50 of them."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__("; ".join(map(str, mistakes[:3])))
        self.mistakes = mistakes[:MAX_MISTAKES]


def parse_orders(data: bytes) -> list[OrderLine]:
    """The orders in ``data``: UTF-8, columns sku, quantity, email in any order. Raises InvalidOrders."""
    rows = _rows(data)
    header = [name.strip().lower() for name in rows[0][1]]
    if sorted(header) != sorted(COLUMNS):
        raise InvalidOrders([Mistake(rows[0][0], "", f"the columns are {_quoted(','.join(header))}. {HEADER_HINT}.")])
    if len(rows) == 1:
        raise InvalidOrders([Mistake(0, "", "The file has no orders. Add one line for each below the first line.")])
    if len(rows) - 1 > MAX_LINES:
        raise InvalidOrders(
            [Mistake(0, "", f"There are {len(rows) - 1:,} orders. Split the file: {MAX_LINES:,} at most.")]
        )
    products = {product.sku: product for product in Product.objects.all()}
    lines: list[OrderLine] = []
    mistakes: list[Mistake] = []
    for number, cells in rows[1:]:
        if len(cells) != len(COLUMNS):
            wrong = f"{len(cells)} values. Write {len(COLUMNS)}, separated by commas."
            mistakes.append(Mistake(number, "", wrong))
            continue
        values = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
        found = [Mistake(number, column, wrong) for column, wrong in _check(values, products)]
        if found:
            mistakes += found
        else:
            lines.append(OrderLine(products[values["sku"]], int(values["quantity"]), values["email"]))
    if mistakes:
        raise InvalidOrders(mistakes)
    return lines


def _rows(data: bytes) -> list[tuple[int, list[str]]]:
    """The lines that hold anything, each with its number. Raises InvalidOrders."""
    if len(data) > MAX_BYTES:
        raise InvalidOrders([Mistake(0, "", "The file is larger than 1 MiB. Split it.")])
    try:
        text = data.decode("utf-8-sig")  # spreadsheets put a byte order mark first
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidOrders([Mistake(line, "", "not UTF-8 text. Save the file as CSV UTF-8.")]) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InvalidOrders([Mistake(line, "", "holds a NUL byte. Save the file as CSV UTF-8.")])
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows = []
    start = 1  # a quoted value may span lines: name the one where its row begins
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append((start, row))
            start = reader.line_num + 1
    except csv.Error as error:
        raise InvalidOrders([Mistake(start, "", f"{error}. Mend the quotes in this line.")]) from error
    if not rows:
        raise InvalidOrders([Mistake(0, "", f"The file is empty. {HEADER_HINT}.")])
    return rows


def _check(values: dict[str, str], products: dict[str, Product]) -> list[tuple[str, str]]:
    """What is wrong with one line: column and message."""
    wrong = []
    if values["sku"] not in products:
        known = ", ".join(sorted(products)[:10]) or "none: there are no products"
        wrong.append(("sku", f"there is no product {_quoted(values['sku'])}. Use one of: {known}."))
    quantity = values["quantity"]
    is_short_number = quantity.isascii() and quantity.isdigit() and len(quantity) < 10
    if not (is_short_number and 1 <= int(quantity) <= MAX_QUANTITY):
        wrong.append(("quantity", f"{_quoted(quantity)} is no quantity. Use a whole number from 1 to {MAX_QUANTITY}."))
    try:
        validate_email(values["email"])
    except ValidationError:
        wrong.append(("email", f"{_quoted(values['email'])} is no e-mail address. Use one like ada@example.com."))
    else:
        if len(values["email"]) > MAX_EMAIL:
            wrong.append(("email", f"longer than {MAX_EMAIL} characters. Use a shorter address."))
    return wrong


def _quoted(text: str) -> str:
    """``text`` in quotes, short, with what cannot be printed shown as an escape."""
    return repr(text if len(text) <= 40 else f"{text[:40]}…")
