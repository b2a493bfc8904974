"""A peer as a subject: its worker and its producer are programs in its own environment."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.kit.ground import Ground
from benchmarks.kit.machine import WORKER_CORE, on_core
from benchmarks.kit.progress import Progress, marked
from benchmarks.kit.subject import PROGRAMS, Work, produced
from benchmarks.peers.install import node_environment, python_environment, system_packages
from tests.support.process import RunningProcess

_FOLDER = PROGRAMS / "peers"
_VERSION_OF = "import sys, importlib.metadata as m; print(m.version(sys.argv[1]))"


@dataclass(frozen=True, kw_only=True)
class Peer:
    """What all peers have in common.

    many: orders of a drain, so that it takes some seconds. at_once: orders in flight in a drain,
    where it is fastest. hundred: whether it can have a hundred in flight in one process.
    """

    name: str
    settings: str
    guarantee: str
    many: int
    at_once: int
    hundred: bool = True

    def install(self) -> Path:
        """Where it is; installs it if need be."""
        raise NotImplementedError

    def version(self) -> str:
        """As its package says."""
        raise NotImplementedError

    def worker_command(self, at_once: int) -> list[str]:
        """How its worker is started."""
        raise NotImplementedError

    def producer_command(self, mode: str) -> list[str]:
        """How its producer is started; mode: bulk or singly."""
        raise NotImplementedError

    def fill(self, ground: Ground, work: Work) -> None:
        """See Subject."""
        produced(self.producer_command("bulk"), self._env(ground, work))

    def place_singly(self, ground: Ground, work: Work) -> list[float]:
        """See Subject."""
        return produced(self.producer_command("singly"), self._env(ground, work))

    def start(self, ground: Ground, work: Work) -> RunningProcess:
        """See Subject."""
        command = self.worker_command(work.at_once or self.at_once)
        with on_core(WORKER_CORE):
            return RunningProcess(command, cwd=ground.folder, env=self._env(ground, work))

    def progress(self, ground: Ground) -> Progress:
        """See Subject."""
        return marked(ground)

    def _env(self, ground: Ground, work: Work) -> dict[str, str]:
        return work.env(ground) | {
            "BENCH_AT_ONCE": str(work.at_once or self.at_once),
            "BENCH_NODE_MODULES": str(self.install()),
            "RQ_REDIS_URL": ground.server.url,
            "PYTHONPATH": f"{PROGRAMS}:{_FOLDER}",
        }


@dataclass(frozen=True, kw_only=True)
class PythonPeer(Peer):
    """packages: for pip; the first is the peer. module: in programs/peers.

    worker: the words of the command after the folder of programs, given how many at once.
    """

    packages: tuple[str, ...]
    module: str
    worker: Callable[[int], list[str]]

    def install(self) -> Path:
        """See Peer."""
        return python_environment(self.name.lower(), self.packages)

    def version(self) -> str:
        """See Peer."""
        package = self.packages[0].partition("[")[0]
        return _output(str(self.install() / "bin" / "python"), "-c", _VERSION_OF, package)

    def worker_command(self, at_once: int) -> list[str]:
        """See Peer."""
        program, *words = self.worker(at_once)
        return [str(self.install() / "bin" / program), *words]

    def producer_command(self, mode: str) -> list[str]:
        """See Peer."""
        python = str(self.install() / "bin" / "python")
        return [python, str(PROGRAMS / "produce.py"), self.module, mode]


@dataclass(frozen=True, kw_only=True)
class BullMQ(Peer):
    """Node's."""

    def install(self) -> Path:
        """See Peer."""
        return node_environment("bullmq", ("bullmq", "ioredis"))

    def version(self) -> str:
        """See Peer."""
        package = self.install() / "node_modules" / "bullmq" / "package.json"
        return _output("node", "-p", f"require('{package}').version")

    def worker_command(self, at_once: int) -> list[str]:
        """See Peer."""
        return ["node", str(_FOLDER / "bullmq_worker.js")]

    def producer_command(self, mode: str) -> list[str]:
        """See Peer."""
        return ["node", str(_FOLDER / "bullmq_produce.js"), mode]


@dataclass(frozen=True, kw_only=True)
class Sidekiq(Peer):
    """Ruby's."""

    def install(self) -> Path:
        """See Peer."""
        system_packages("sidekiq:ruby-sidekiq")
        return Path("/")

    def version(self) -> str:
        """See Peer."""
        self.install()
        return _output("sidekiq", "--version").removeprefix("Sidekiq ")

    def worker_command(self, at_once: int) -> list[str]:
        """See Peer."""
        program = str(_FOLDER / "sidekiq_worker.rb")
        return ["sidekiq", "-e", "production", "-c", str(at_once), "-r", program]

    def producer_command(self, mode: str) -> list[str]:
        """See Peer."""
        return ["ruby", str(_FOLDER / "sidekiq_produce.rb"), mode]


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
