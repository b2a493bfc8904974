"""Foreign text can neither begin a line nor steer a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fulfillment_worker.core.text import one_line, text_of, visible


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("two\r\n lines\t", "two lines"),
        ("\x1b[31mred\x00", r"\x1b[31mred\x00"),
        ("\u202eright to left\udc80", r"\u202eright to left\udc80"),
        (r"C:\orders é", r"C:\orders é"),
        (" \n", ""),
        ("0123456789x", "012345678…"),
        ("0123456789", "0123456789"),
    ],
)
def test_one_line_escapes_what_is_not_visible(text: str, line: str) -> None:
    assert one_line(text, 10 if text.startswith("0") else None) == line


@given(st.text(st.characters()), st.integers(1, 100))
def test_one_line_is_bounded_visible_and_encodable(text: str, longest: int) -> None:
    line = one_line(text, longest)
    assert line.isprintable()
    assert len(line) <= longest
    assert line.encode().decode() == line


def test_visible_neutralises_what_steers_a_terminal() -> None:
    assert visible("a\x1b]0;x\x07\u202e é\udc80") == r"a\x1b]0;x\x07\u202e é\udc80"


def test_bytes_that_are_no_text_stay_visible() -> None:
    assert text_of(b"\xffA-1") == r"\xffA-1"
    assert text_of("A-1") == "A-1"
