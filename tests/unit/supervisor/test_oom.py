"""The kernel's count of the processes that it killed for want of memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from fulfillment_worker.supervisor.oom import OomKills

EVENTS = "low 0\noom 3\noom_kill {}\noom_group_kill 0\n"
CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"


@pytest.mark.parametrize(
    ("group", "file", "text"),
    [
        ("0::/shop.service\n", "shop.service/memory.events", EVENTS),
        ("0::/\n", "memory.events", EVENTS),
        ("0::/../host/path\n", "memory.events", EVENTS),
        ("3:cpu,memory:/docker/1\n0::/\n", "memory/docker/1/memory.oom_control", CONTROL),
        ("3:memory:/docker/1\n", "memory/memory.oom_control", CONTROL),
    ],
)
def test_oom_kill_is_counted_for_one_process(
    tmp_path: Path, group: str, file: str, text: str
) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(group)
    count = tmp_path / "sys/fs/cgroup" / file
    count.parent.mkdir(parents=True)
    count.write_text(text.format(2))
    kills = OomKills(tmp_path)
    assert not kills.took(), "those of the past"
    count.write_text(text.format(4))
    assert [kills.took() for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("text", ["", "oom_kill\n", "oom_kill many\n", "low 0\n"])
def test_count_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    assert not OomKills(tmp_path).took()
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/memory.events").write_text(text)
    assert not OomKills(tmp_path).took()
