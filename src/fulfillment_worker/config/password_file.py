"""A password in a file, such as a mounted secret, which may be rotated at any time."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_LARGEST = 64 * 1024


def read_password(path: str) -> str:
    """What the file holds now, without its last line break.

    Raises ValueError, whose message says what is wrong and shows nothing of the content.
    """
    try:
        # A named pipe would keep us waiting for its other end.
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise ValueError("it is no regular file")
        with Path(path).open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise ValueError(f"it can't be read: {os.strerror(error.errno or 0)}") from None
    if len(content) > _LARGEST:
        raise ValueError("it is too large for a password")
    line_break = b"\r\n" if content.endswith(b"\r\n") else b"\n"
    password = content.removesuffix(line_break)
    if not password:
        raise ValueError("it is empty")
    try:
        return password.decode()
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
