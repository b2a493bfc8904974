"""Installs the peers into `.benchmarks/peers/`, each apart from the others and from this project.

    .venv/bin/python -m benchmarks.peers.install [NAME...]

Python peers get a virtual environment, Node's a node_modules; Sidekiq is Debian's package.
What is there already stays; remove the folder to get newer versions.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
_CACHE = ROOT / ".benchmarks" / "peers"
_SYSTEM_PACKAGES = ROOT / "scripts" / "install-system-packages"


def python_environment(name: str, packages: Sequence[str]) -> Path:
    """The folder of a virtual environment with these packages."""
    folder = _CACHE / name
    if not _is_installed(folder, packages):
        _run(sys.executable, "-m", "venv", "--clear", str(folder))
        pip = (str(folder / "bin" / "pip"), "--disable-pip-version-check", "-qq")
        _run(*pip, "install", *packages)
        _note_installed(folder, packages)
    return folder


def node_environment(name: str, packages: Sequence[str]) -> Path:
    """A folder whose node_modules has these packages."""
    folder = _CACHE / name
    if not _is_installed(folder, packages):
        system_packages("node:nodejs", "npm:npm")
        folder.mkdir(parents=True, exist_ok=True)
        _run(
            "npm",
            "install",
            "--silent",
            "--no-audit",
            "--no-fund",
            "--prefix",
            str(folder),
            *packages,
        )
        _note_installed(folder, packages)
    return folder


def system_packages(*programs: str) -> None:
    """Programs of Debian's, each as PROGRAM:PACKAGE."""
    _run(str(_SYSTEM_PACKAGES), *programs)


def _is_installed(folder: Path, packages: Sequence[str]) -> bool:
    note = folder / "installed"
    return note.exists() and note.read_text().split() == list(packages)


def _note_installed(folder: Path, packages: Sequence[str]) -> None:
    (folder / "installed").write_text("\n".join(packages) + "\n")


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
