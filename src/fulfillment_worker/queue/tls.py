"""TLS to Redis: what the address asks for, and in plain words what went wrong with it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

from redis.exceptions import ConnectionError as RedisConnectionError

from fulfillment_worker.config.redis_url import RedisUrl

_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_EXPIRED, _NOT_YET, _WRONG_NAMES = 10, 9, (62, 64)
_NO_AUTHORITY = (2, 18, 19, 20, 21)
_STRICT = range(80, 95)
"""See "Diagnostics" in openssl-verification-options(1)."""


class TlsError(RedisConnectionError):
    """The message says what is wrong, and what to do."""


def context(url: RedisUrl) -> ssl.SSLContext:
    """For one connection, made from what the files hold now. Raises TlsError."""
    options = url.tls_options
    for name in _FILES:
        _require_readable(name, options.get(name))
    made = ssl.create_default_context()
    verify = options.get("ssl_cert_reqs", "required")
    made.check_hostname = verify != "none" and options.get("ssl_check_hostname") != "false"
    made.verify_mode = ssl.VerifyMode[f"CERT_{verify.upper()}"]
    if "ssl_ca_certs" in options:
        _load_authority(made, options["ssl_ca_certs"])
    if "ssl_certfile" in options or "ssl_keyfile" in options:
        _load_own(made, options.get("ssl_certfile"), options.get("ssl_keyfile"))
    return made


def _require_readable(name: str, path: str | None) -> None:
    if path is None:
        return
    try:
        with Path(path).open("rb"):
            return
    except OSError as error:
        raise TlsError(f"{name} is {path}, which can't be read: {error.strerror}") from error


def _load_authority(made: ssl.SSLContext, path: str) -> None:
    try:
        made.load_verify_locations(cafile=path)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise TlsError(f"ssl_ca_certs is {path}, which holds no certificate in PEM") from error


def _load_own(made: ssl.SSLContext, certificate: str | None, key: str | None) -> None:
    if certificate is None:
        raise TlsError("ssl_keyfile needs the certificate that belongs to it: add ssl_certfile")
    try:
        made.load_cert_chain(certificate, key, password=_refuse_to_ask)
    except TlsError:
        raise
    except (ssl.SSLError, OSError, ValueError) as error:
        where = (
            f"ssl_certfile is {certificate} and ssl_keyfile is {key}"
            if key
            else (f"ssl_certfile is {certificate}, without an ssl_keyfile")
        )
        raise TlsError(f"{where}: {_what_is_wrong(error)}") from error


def _refuse_to_ask() -> str:
    # By itself the library would ask at the terminal, and wait.
    raise TlsError("the key in ssl_keyfile is encrypted: give one without a passphrase")


def _what_is_wrong(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    if reason == "KEY_VALUES_MISMATCH":
        return "the key does not belong to the certificate"
    return "they must hold a certificate and its key in PEM"


def explained(error: BaseException, url: RedisUrl, host: str) -> TlsError | None:
    """What a failure of TLS means; None where it is none."""
    found = next((each for each in _chain(error) if isinstance(each, ssl.SSLError)), None)
    return None if found is None else TlsError(_meaning(found, url, host))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _meaning(error: ssl.SSLError, url: RedisUrl, host: str) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _distrust(error, url, host)
    reason = error.reason or ""
    if "CERTIFICATE_REQUIRED" in reason:
        return "it wants a certificate of the client: add ssl_certfile and ssl_keyfile"
    if "ALERT_UNKNOWN_CA" in reason or "ALERT_BAD_CERTIFICATE" in reason:
        return "it does not trust the certificate in ssl_certfile"
    if "ALERT_CERTIFICATE_EXPIRED" in reason:
        return "the certificate in ssl_certfile has expired"
    return f"TLS failed: {reason.replace('_', ' ').lower() or error}"


def _distrust(error: ssl.SSLCertVerificationError, url: RedisUrl, host: str) -> str:
    failed = f"certificate verify failed for {host}:"
    if error.verify_code == _EXPIRED:
        return f"{failed} it has expired; renew it on the server"
    if error.verify_code == _NOT_YET:
        return f"{failed} it is not valid yet; check the clocks"
    if error.verify_code in _WRONG_NAMES:
        return f"{failed} it is for another host; use a name that it has"
    if error.verify_code in _NO_AUTHORITY:
        signed = url.tls_options.get("ssl_ca_certs")
        trusted = f"the authority in {signed}" if signed else "an authority that the system trusts"
        return f"{failed} it is not signed by {trusted}; name its authority in ssl_ca_certs"
    if error.verify_code in _STRICT:
        refused = f"{error.verify_message}, which Python 3.13 and later refuse"
        return f"{failed} {refused}; make the certificate anew, after RFC 5280"
    return f"{failed} {error.verify_message}"
