"""What only Linux has is used where it is there, and needed nowhere."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import fulfillment_worker
from tests.support.eventually import PATIENCE
from tests.support.orders import bodies, place, wait_until_all
from tests.support.process import environment
from tests.support.redis_server import RedisServer
from tests.support.worker import FULFIL_ALL, RunningWorker

FOLDER = str(Path(__file__).parents[1] / "support" / "not_linux")
MODULES = [
    module.name
    for module in pkgutil.walk_packages(fulfillment_worker.__path__, "fulfillment_worker.")
    # The second is imported only where there is an epoll.
    if not module.name.endswith(("__main__", "precise_selector"))
]


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env=environment({"TMPDIR": str(folder), "PYTHONPATH": FOLDER}),
        timeout=PATIENCE,
        check=False,
    )


def test_every_module_can_be_imported(tmp_path: Path) -> None:
    imports = "; ".join(f"import {name}" for name in MODULES)
    done = run("-c", f"{imports}; print(hasattr(__import__('select'), 'epoll'))", folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")


def test_the_demo_fulfils_its_orders(tmp_path: Path) -> None:
    demo = ("-m", "fulfillment_worker", "demo", "--orders", "30", "--metrics-port", "0")
    done = run(*demo, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "balanced" in done.stdout


@pytest.mark.parametrize("options", [(), ("--processes", "2")], ids=["1", "2"])
def test_a_worker_runs_drains_and_ends(
    redis_7: RedisServer,
    run_worker: Callable[..., RunningWorker],
    tmp_path: Path,
    options: tuple[str, ...],
) -> None:
    env = {"PYTHONPATH": f"{tmp_path / 'worker-0'}:{FOLDER}"}
    worker = run_worker(redis_7.url, FULFIL_ALL, *options, env=env)
    place(redis_7, bodies(20))
    wait_until_all(redis_7, bodies(20))
    assert worker.scrape()["orders_unaccounted"] == 0
    assert worker.terminate() == 0
    assert "Traceback" not in worker.output
