"""What systemd hears from a service."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fulfillment_worker.core.events import ResourcesUnready
from fulfillment_worker.runtime.systemd import Systemd


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """What systemd listens with."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        yield listening


def heard(manager: socket.socket) -> list[bytes]:
    messages = []
    while True:
        try:
            messages.append(manager.recv(1000))
        except BlockingIOError:
            return messages


def environ(manager: socket.socket, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": manager.getsockname()} | more


def say_everything(systemd: Systemd) -> None:
    systemd.ready()
    systemd.watchdog()
    systemd.stopping()


def test_systemd_hears_each_step_of_a_life(manager: socket.socket) -> None:
    say_everything(Systemd(environ(manager, WATCHDOG_USEC="30000000")))
    assert heard(manager) == [b"READY=1", b"WATCHDOG=1", b"STOPPING=1"]


@pytest.mark.parametrize(
    ("meant", "many"), [(str(os.getpid()), 3), ("1", 2), ("", 3)], ids=["us", "another", "anybody"]
)
def test_watchdog_is_told_by_the_process_that_is_meant(
    manager: socket.socket, meant: str, many: int
) -> None:
    say_everything(Systemd(environ(manager, WATCHDOG_USEC="30000000", WATCHDOG_PID=meant)))
    assert len(heard(manager)) == many


def test_watchdog_is_not_told_unasked(manager: socket.socket) -> None:
    say_everything(Systemd(environ(manager)))
    assert heard(manager) == [b"READY=1", b"STOPPING=1"]


def test_systemd_may_listen_at_an_abstract_address() -> None:
    name = f"fulfillment-worker-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.setblocking(False)
        say_everything(Systemd({"NOTIFY_SOCKET": f"@{name}"}))
        assert heard(listening) == [b"READY=1", b"STOPPING=1"]


@pytest.mark.parametrize("address", ["", "/no/such/socket"])
def test_systemd_that_does_not_listen_does_no_harm(address: str) -> None:
    say_everything(Systemd({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1"}))


def test_start_that_waits_for_resources_is_given_more_time(manager: socket.socket) -> None:
    Systemd(environ(manager)).observe(ResourcesUnready("OSError: the database is away", 0.5))
    (said,) = heard(manager)
    assert said == b"STATUS=OSError: the database is away\nEXTEND_TIMEOUT_USEC=120000000"
