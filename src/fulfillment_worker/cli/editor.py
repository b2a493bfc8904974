"""A person's own editor, on a text in a file of its own."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import click

from fulfillment_worker.core.redaction import quoted

_VARIABLES = ("VISUAL", "EDITOR")
_HELP = "set EDITOR to a command, such as EDITOR=nano, or give --set or --file"


def find_editor(environ: Mapping[str, str]) -> list[str]:
    """The command of the editor: $VISUAL, else $EDITOR. Raises ClickException."""
    for name in _VARIABLES:
        if command := environ.get(name, "").strip():
            try:
                return shlex.split(command)
            except ValueError as error:
                raise click.ClickException(f"{name} is {quoted(command)}: {error}") from None
    raise click.ClickException(f"there is no editor, since EDITOR is not set: {_HELP}")


class Draft:
    """The text that is edited, in a file that only this user can read.

    It goes when `discard` is called, so that an order's bytes don't stay behind; else it is kept.
    """

    def __init__(self, name: str, text: bytes) -> None:
        """name: how the file's name begins. Raises ClickException."""
        try:
            # With this mode from the start (mkstemp): it may hold personal data.
            descriptor, path = tempfile.mkstemp(prefix=f"{name}-", suffix=".json")
            with os.fdopen(descriptor, "wb") as file:
                file.write(text)
        except OSError as error:
            why = error.strerror or error
            raise click.ClickException(f"no file can be made to edit: {why}") from None
        self.path = Path(path)

    def edit(self, command: list[str]) -> bytes:
        """The text after the editor has ended. Raises ClickException where it fails."""
        # Ctrl-C is the editor's alone. It doesn't inherit this: a handler ends with an exec.
        before = signal.signal(signal.SIGINT, lambda *_: None)
        try:
            done = subprocess.run([*command, str(self.path)], check=False)
        except OSError as error:
            said = f"the editor {quoted(command[0])} can't be started: {error.strerror}; {_HELP}"
            raise click.ClickException(said) from None
        finally:
            signal.signal(signal.SIGINT, before)
        if done.returncode:
            raise click.ClickException(
                f"the editor {quoted(command[0])} ended with {_ending(done.returncode)}"
            )
        return self.read()

    def read(self) -> bytes:
        """The text now. Raises ClickException."""
        try:
            return self.path.read_bytes()
        except OSError as error:
            said = f"the edited text in {self.path} can't be read: {error.strerror}"
            raise click.ClickException(said) from None

    def discard(self) -> None:
        """Remove the file. Idempotent."""
        with suppress(OSError):
            self.path.unlink()


def _ending(code: int) -> str:
    return f"exit code {code}" if code > 0 else f"signal {-code}"
