"""What a failure of TLS is called."""

from __future__ import annotations

import ssl

import pytest

from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.queue.tls import explained

_URL = RedisUrl.parse("rediss://h?ssl_certfile=/c")


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (10, "it has expired; renew it"),
        (9, "it is not valid yet; check the clocks"),
        (62, "it is for another host"),
        (64, "it is for another host"),
        (18, "it is not signed by an authority that the system trusts"),
        (23, "revoked"),
        (92, "revoked, which Python 3.13 and later refuse; make the certificate anew"),
    ],
)
def test_certificate_that_fails_says_why(code: int, says: str) -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, "certificate revoked"
    told = str(explained(error, _URL, "h"))
    assert told.startswith("certificate verify failed for h: ")
    assert says in told


@pytest.mark.parametrize(
    ("reason", "says"),
    [
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "it wants a certificate of the client"),
        ("TLSV1_ALERT_UNKNOWN_CA", "it does not trust the certificate in ssl_certfile"),
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", "the certificate in ssl_certfile has expired"),
        ("UNSUPPORTED_PROTOCOL", "TLS failed: unsupported protocol"),
    ],
)
def test_alert_of_the_server_says_what_to_do(reason: str, says: str) -> None:
    error = ssl.SSLError(1, reason)
    error.reason = reason
    assert says in str(explained(error, _URL, "h"))


def test_failure_without_tls_is_left_alone() -> None:
    assert explained(ConnectionResetError(), _URL, "h") is None
