"""Installs the peers into `.benchmarks/peers/`, each apart from the others and from this project.

    .venv/bin/python -m benchmarks.peers.install [NAME...]

Python peers get a virtual environment, and Node's gets a node_modules, both with what
`benchmarks/peers/locks/` says; Sidekiq gets a Debian sid. What is there already stays, until its
lock changes or its folder is removed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCKS = Path(__file__).parent / "locks"
_CACHE = ROOT / ".benchmarks" / "peers"
_SID_MADE = _CACHE / "sidekiq" / "made"
_SCRIPTS = ROOT / "scripts"
_SIDEKIQ = str(_SCRIPTS / "sidekiq")
_FOR_SIDEKIQ = ("debootstrap:debootstrap", "unshare:util-linux")


def locked_on() -> str:
    """The day on which the locks had the newest of each."""
    return (LOCKS / "day").read_text().strip()


def python_environment(name: str, lock: Path) -> Path:
    """The folder of a virtual environment with what the lock names, and nothing else."""
    folder = _CACHE / name
    if not _is_installed(folder, lock):
        _run(sys.executable, "-m", "venv", "--clear", str(folder))
        pip = (str(folder / "bin" / "pip"), "--disable-pip-version-check", "-qq")
        _run(*pip, "install", "--no-deps", "--require-hashes", "-r", str(lock))
        _note_installed(folder, lock)
    return folder


def node_environment(name: str) -> Path:
    """A folder whose node_modules has what the lock of this name says."""
    folder, lock = _CACHE / name, LOCKS / name / "package-lock.json"
    if not _is_installed(folder, lock):
        _run(str(_SCRIPTS / "install-system-packages"), "node:nodejs", "npm:npm")
        folder.mkdir(parents=True, exist_ok=True)
        for file in (lock, lock.with_name("package.json")):
            shutil.copy(file, folder)
        _run("npm", "ci", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder))
        _note_installed(folder, lock)
    return folder


def sidekiq_system() -> Path:
    """The folder of a Debian sid with Sidekiq and a Ruby with YJIT: see scripts/sidekiq."""
    folder = _CACHE / "sidekiq"
    if os.geteuid() != 0:
        raise SystemExit(
            "Sidekiq runs in a Debian of its own, which only root can make: run this as root, or "
            "python -m benchmarks.peers.compare --only NAME,NAME without it"
        )
    if not is_sidekiq_installed():
        _run(str(_SCRIPTS / "install-system-packages"), *_FOR_SIDEKIQ)
        _run(_SIDEKIQ, "make", str(folder))
    return folder


def is_sidekiq_installed() -> bool:
    """Whether it can be run without a long installation."""
    return os.geteuid() == 0 and _SID_MADE.exists()


def day_of_sid() -> str:
    """The day on which Debian published the packages that the Debian sid is made of."""
    return _SID_MADE.read_text().strip()


def in_sidekiq_system(shared: Sequence[Path], *words: str) -> list[str]:
    """The command that runs Ruby there with these words; it sees these folders, too."""
    folders = ":".join(str(folder) for folder in shared)
    return [_SIDEKIQ, "run", str(sidekiq_system()), folders, *words]


def _is_installed(folder: Path, lock: Path) -> bool:
    note = folder / "installed"
    return note.exists() and note.read_text() == lock.read_text()


def _note_installed(folder: Path, lock: Path) -> None:
    shutil.copy(lock, folder / "installed")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=sys.stderr)


def main(names: Sequence[str]) -> None:
    """Install those named, or all; print the versions."""
    from benchmarks.peers.peers import PEERS  # noqa: PLC0415 - it imports this module

    for peer in PEERS:
        if not names or peer.name in names:
            peer.install()
            print(f"{peer.name} {peer.version()}")


if __name__ == "__main__":
    main(sys.argv[1:])
