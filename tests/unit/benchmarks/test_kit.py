"""The benchmarks' own arithmetic: a yardstick that is wrong is worse than none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from benchmarks.kit import figures
from benchmarks.kit.figures import Figures, Report, quantile, table
from benchmarks.kit.machine import cpu_seconds, on_core, resident
from benchmarks.kit.orders import SIZE, order
from benchmarks.kit.recorder import name_of, split_commands
from benchmarks.kit.rounds import in_turns
from benchmarks.kit.subject import Work


def test_figures_are_the_median_with_the_least_and_the_most() -> None:
    assert Figures((3.0, 1000.0, 20.0)).shown() == "20 (3 to 1,000)"
    assert Figures((1234.56,)).shown(1) == "1,234.6"


def test_a_quantile_is_one_of_the_values() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert [quantile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1.0, 51.0, 100.0, 100.0]


def test_a_table_lines_up() -> None:
    assert table(["a", "bb"], [["ccc", "d"]]) == "| a   | bb |\n| --- | -- |\n| ccc | d  |"


def test_what_is_saved_names_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "RESULTS", tmp_path / "results")
    report = Report("some")
    report.tell("| a table |")
    report.tell("A sentence.")
    report.save({"rates": (1.0, 2.0)})
    assert (tmp_path / "results" / "some.md").read_text() == "| a table |\n\nA sentence.\n"
    saved = json.loads((tmp_path / "results" / "some.json").read_text())
    assert saved["rates"] == [1.0, 2.0]
    assert saved["machine"]["cores"] == len(os.sched_getaffinity(0))


def test_every_round_has_every_run_and_a_failure_leaves_one_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said: list[str] = []

    def run(name: str) -> str:
        said.append(name)
        if name == "b":
            raise RuntimeError("out of order")
        return name.upper()

    runs = {name: partial(run, name) for name in "abc"}
    assert in_turns(runs, 2) == {"a": ["A", "A"], "c": ["C", "C"]}
    assert said == ["a", "b", "c", "a", "c"]
    assert "b is left out: out of order" in capsys.readouterr().err


def test_an_order_is_of_the_size_that_is_told() -> None:
    for number in (0, 12_345_678):
        assert len(order(number)) == SIZE
        assert json.loads(order(number))["order_id"] == f"A-{number:08}"


def test_the_last_mark_of_a_run_is_one_that_is_made() -> None:
    for many in (1, 49, 50, 16_666, 100_000):
        work = Work("noop", many)
        assert 0 < work.last_told <= many
        assert work.last_told % work.every == 0
    assert Work("note", 16_666).every == 1


@pytest.mark.parametrize("cut", range(0, 70, 7))
def test_commands_are_found_wherever_the_stream_is_cut(cut: int) -> None:
    ping = b"*1\r\n$4\r\nPING\r\n"
    push = b"*3\r\n$5\r\nlpush\r\n$1\r\nq\r\n$9\r\n*1\r\n$1\r\n\n\r\n"
    stream = ping + push + ping
    first, rest = split_commands(stream[:cut])
    second, rest = split_commands(rest + stream[cut:])
    assert first + second == [ping, push, ping]
    assert rest == b""
    assert name_of(push) == b"LPUSH"


def test_the_cpu_and_memory_of_another_process_and_its_child() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass\nprint(1, flush=True)\ninput()\n"
    nested = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {burn!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", nested], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert cpu_seconds(process.pid) >= 0.3
        assert resident(process.pid) > 8 * 2**20
        process.communicate(b"\n")
    assert cpu_seconds(process.pid) == 0
    assert resident(process.pid) == 0


def test_what_is_started_on_a_core_stays_there() -> None:
    before = os.sched_getaffinity(0)
    core = max(before)
    with on_core(core):
        told = subprocess.run(
            [sys.executable, "-c", "import os; print(os.sched_getaffinity(0))"],
            capture_output=True,
            text=True,
            check=True,
        )
    assert told.stdout.strip() == str({core})
    assert os.sched_getaffinity(0) == before
