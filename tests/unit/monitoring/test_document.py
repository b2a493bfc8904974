"""What is written is YAML, and says what it was given."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fulfillment_worker.monitoring import document

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES: st.SearchStrategy[Any] = st.recursive(
    TEXT | st.integers(-9, 9),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(TEXT.filter(bool), inner, min_size=1, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(TEXT.filter(bool), VALUES, min_size=1, max_size=3))
def test_a_reader_finds_what_was_written(content: dict[str, Any]) -> None:
    assert yaml.safe_load(document.yaml(content)) == content


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "yes", "NO", "null", "1m", "1e3", "~", "a: b", "a #b", "- a", "{}", "'"),
        *(
            'say "x"',
            "a\nb",
            "a\n",
            "\na",
            " a\nb",
            'x"\n',
            'tab\t"x"',
            '\x85"',
            "\u2028\n",
            "a\n\n b",
        ),
    ],
)
def test_text_stays_text(text: str) -> None:
    assert yaml.safe_load(document.yaml({"a": text, "b": [text]})) == {"a": text, "b": [text]}


def test_queries_are_legible() -> None:
    assert document.yaml({"expr": 'up{job="x"}\n== 0'}) == 'expr: |-\n  up{job="x"}\n  == 0\n'
