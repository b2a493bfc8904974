"""Certificates for servers and clients, made by openssl."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

LOOPBACK = "IP:127.0.0.1"


def make_authority(folder: Path, name: str) -> None:
    """`name`.crt and `name`.key in the folder, which can sign others: also for Python 3.13."""
    _openssl(folder, name, "-addext", "keyUsage=critical,keyCertSign,cRLSign")


def make_lax_authority(folder: Path, name: str) -> None:
    """The same without the use of its key, as openssl makes it by itself."""
    _openssl(folder, name)


def certify(folder: Path, name: str, authority: str, *, names: str = LOOPBACK) -> None:
    """`name`.crt and `name`.key, signed by the authority. names: the hosts that it is for."""
    signed = ("-CA", f"{authority}.crt", "-CAkey", f"{authority}.key")
    end = ("-addext", f"subjectAltName={names}", "-addext", "basicConstraints=CA:FALSE")
    _openssl(folder, name, *signed, *end)


def server_options(folder: Path, port: int, *, clients: str = "no") -> list[str]:
    """Options of Redis for TLS on a port. clients: whether they need a certificate."""
    return [
        *("--tls-port", str(port), "--tls-auth-clients", clients),
        *("--tls-cert-file", str(folder / "server.crt")),
        *("--tls-key-file", str(folder / "server.key")),
        *("--tls-ca-cert-file", str(folder / "ca.crt")),
    ]


def _openssl(folder: Path, name: str, *more: str) -> None:
    command: Sequence[str] = [
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-nodes", "-days", "2", "-subj", f"/CN={name}"),
        *("-keyout", f"{name}.key", "-out", f"{name}.crt", *more),
    ]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
