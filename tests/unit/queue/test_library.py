"""The library of functions: its names tell its content."""

from __future__ import annotations

import re

from click.testing import CliRunner

from fulfillment_worker.cli.main import main
from fulfillment_worker.queue import library
from fulfillment_worker.queue.library import LIBRARY, Function


def test_library_defines_each_function_once() -> None:
    defined = re.findall(r"^define(?:_reading)?\('(\w+)'", LIBRARY.text, re.MULTILINE)
    assert sorted(defined) == sorted(Function)


def test_library_of_another_content_has_other_names() -> None:
    other = library.assemble(lambda text: text.replace("MOST_BYTES = 524288", "MOST_BYTES = 1"))
    assert other.name != LIBRARY.name
    assert not set(other.names.values()) & set(LIBRARY.names.values())
    assert LIBRARY.text.startswith(f"#!lua name={LIBRARY.name}\n")


def test_library_names_are_read_from_either_protocol() -> None:
    assert library.names_in([{b"library_name": b"a"}, [b"library_name", b"b", b"engine", b"LUA"]])
    assert library.names_in([[b"library_name", b"b", b"engine", b"LUA"]]) == ["b"]
    assert library.names_in(Exception("not permitted")) == []


def test_doctor_prints_the_functions_for_an_administrator() -> None:
    done = CliRunner().invoke(main, ["doctor", "--print-functions"])
    assert (done.exit_code, done.output) == (0, LIBRARY.text)
