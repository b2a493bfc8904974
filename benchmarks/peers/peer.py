"""A peer as a subject: its worker and its producer are programs in its own environment."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir

from benchmarks.kit.ground import Ground
from benchmarks.kit.machine import WORKER_CORE, on_core
from benchmarks.kit.progress import Progress, marked
from benchmarks.kit.subject import PROGRAMS, Producer, Work, produced
from benchmarks.peers.install import (
    LOCKS,
    day_of_sid,
    in_sidekiq_system,
    is_sidekiq_installed,
    locked_on,
    node_environment,
    python_environment,
    sidekiq_system,
)
from tests.support.process import RunningProcess

_FOLDER = PROGRAMS / "peers"
_VERSION_OF = "import sys, importlib.metadata as m; print(m.version(sys.argv[1]))"
_SIDEKIQ_VERSION = """
require "sidekiq"
yjit = RubyVM::YJIT.enabled? ? " with YJIT" : ""
puts "#{Sidekiq::VERSION}, Ruby #{RUBY_VERSION}#{yjit}"
"""


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

    def is_at_hand(self) -> bool:
        """Whether `make bench` takes it in: it is known to many, and needs no long installation."""
        return False

    def version(self) -> str:
        """As its package says, with that of what runs it where that is its own."""
        raise NotImplementedError

    def newest_on(self) -> str:
        """The day on which there was no newer version."""
        return locked_on()

    def worker_command(self, at_once: int) -> list[str]:
        """How its worker is started."""
        raise NotImplementedError

    def producer_command(self, mode: str) -> list[str]:
        """How its producer is started; mode: as in programs/produce.py."""
        raise NotImplementedError

    def fill(self, ground: Ground, work: Work) -> None:
        """See Subject."""
        produced(self.producer(ground, work, "bulk"))

    def producer(self, ground: Ground, work: Work, mode: str) -> Producer:
        """See Subject."""
        return Producer(self.producer_command(mode), self._env(ground, work))

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
    """name: that of its package, too. module: in programs/peers.

    worker: the words of the command after the folder of programs, given how many at once.
    """

    module: str
    worker: Callable[[int], list[str]]

    @property
    def lock(self) -> Path:
        """What it is made of."""
        return LOCKS / f"{self.name.lower()}.txt"

    def install(self) -> Path:
        """See Peer."""
        return python_environment(self.name.lower(), self.lock)

    def version(self) -> str:
        """See Peer."""
        return _output(str(self.install() / "bin" / "python"), "-c", _VERSION_OF, self.name)

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
    """Node's, by a Node of its own."""

    def install(self) -> Path:
        """See Peer."""
        return node_environment("bullmq")

    def is_at_hand(self) -> bool:
        """See Peer."""
        return shutil.which("npm") is not None

    def version(self) -> str:
        """See Peer."""
        package = self.install() / "node_modules" / "bullmq" / "package.json"
        version = json.loads(package.read_text())["version"]
        return f"{version}, Node {_output(self._node(), '--version').removeprefix('v')}"

    def worker_command(self, at_once: int) -> list[str]:
        """See Peer."""
        return [self._node(), str(_FOLDER / "bullmq_worker.js")]

    def producer_command(self, mode: str) -> list[str]:
        """See Peer."""
        return [self._node(), str(_FOLDER / "bullmq_produce.js"), mode]

    def _node(self) -> str:
        # The lock has one for each kind of processor; npm installs the one that fits.
        modules = self.install() / "node_modules"
        return str(next(modules.glob("node-linux-*")) / "bin" / "node")


@dataclass(frozen=True, kw_only=True)
class Sidekiq(Peer):
    """Ruby's, in a Debian sid."""

    def install(self) -> Path:
        """See Peer."""
        return sidekiq_system()

    def is_at_hand(self) -> bool:
        """See Peer."""
        return is_sidekiq_installed()

    def version(self) -> str:
        """See Peer."""
        return _output(*self._ruby("-e", _SIDEKIQ_VERSION))

    def newest_on(self) -> str:
        """See Peer."""
        return day_of_sid()

    def worker_command(self, at_once: int) -> list[str]:
        """See Peer."""
        program = str(_FOLDER / "sidekiq_worker.rb")
        return self._ruby("/usr/bin/sidekiq", "-e", "production", "-c", str(at_once), "-r", program)

    def producer_command(self, mode: str) -> list[str]:
        """See Peer."""
        return self._ruby(str(_FOLDER / "sidekiq_produce.rb"), mode)

    def _ruby(self, *words: str) -> list[str]:
        # A run's own folder is one for temporary files.
        return in_sidekiq_system((PROGRAMS, Path(gettempdir())), *words)


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
