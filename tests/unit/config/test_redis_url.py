"""Every form of the Redis URL; and none of them ever shows a secret."""

from __future__ import annotations

import pytest

from fulfillment_worker.config.redis_url import RedisUrl, Scheme


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("redis://h", RedisUrl(Scheme.TCP, hosts=(("h", 6379),))),
        ("REDIS://h:1/", RedisUrl(Scheme.TCP, hosts=(("h", 1),))),
        ("redis://h/7", RedisUrl(Scheme.TCP, hosts=(("h", 6379),), db=7)),
        ("redis://[::1]:1/2", RedisUrl(Scheme.TCP, hosts=(("::1", 1),), db=2)),
        (
            "redis://us%40er:p%2Fw%25@h:1",
            RedisUrl(Scheme.TCP, hosts=(("h", 1),), username="us@er", password="p/w%"),
        ),
        ("redis://:pw@h:1", RedisUrl(Scheme.TCP, hosts=(("h", 1),), password="pw")),
        ("redis://u:@h:1", RedisUrl(Scheme.TCP, hosts=(("h", 1),), username="u", password="")),
        (
            "rediss://h:1/2?ssl_ca_certs=%2Fca.pem&ssl_cert_reqs=none&ssl_check_hostname=False",
            RedisUrl(
                Scheme.TLS,
                hosts=(("h", 1),),
                db=2,
                options=(
                    ("ssl_ca_certs", "/ca.pem"),
                    ("ssl_cert_reqs", "none"),
                    ("ssl_check_hostname", "false"),
                ),
            ),
        ),
        ("unix:///run/a@b.sock?db=3", RedisUrl(Scheme.UNIX, path="/run/a@b.sock", db=3)),
        ("unix://:pw@/r.sock", RedisUrl(Scheme.UNIX, path="/r.sock", password="pw")),
        (
            "redis+sentinel://:pw@a:1,b/shop/3",
            RedisUrl(
                Scheme.SENTINEL,
                hosts=(("a", 1), ("b", 26379)),
                password="pw",
                service="shop",
                db=3,
            ),
        ),
        (
            "redis+sentinel://a/shop",
            RedisUrl(Scheme.SENTINEL, hosts=(("a", 26379),), service="shop"),
        ),
        ("redis+cluster://a:1,b", RedisUrl(Scheme.CLUSTER, hosts=(("a", 1), ("b", 6379)))),
        ("rediss+cluster://a:1", RedisUrl(Scheme.CLUSTER_TLS, hosts=(("a", 1),))),
        (
            "rediss+sentinel://a/shop?ssl_ca_certs=/ca.pem&sentinel_password=x",
            RedisUrl(
                Scheme.SENTINEL_TLS,
                hosts=(("a", 26379),),
                service="shop",
                options=(("ssl_ca_certs", "/ca.pem"), ("sentinel_password", "x")),
            ),
        ),
        ("redis://worker@h:1", RedisUrl(Scheme.TCP, hosts=(("h", 1),), username="worker")),
        ("embedded:./my data", RedisUrl(Scheme.EMBEDDED, path="./my data")),
        ("embedded:/var/lib/orders", RedisUrl(Scheme.EMBEDDED, path="/var/lib/orders")),
    ],
)
def test_reads(text: str, expected: RedisUrl) -> None:
    assert RedisUrl.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "start it with redis://"),
        ("localhost:6379", "start it with redis://"),
        ("http://h", "redis\\+sentinel://.* or embedded:PATH"),
        ("redis:/h", "start it with"),
        ("redis://", "a host is missing"),
        ("redis:///0", "a host is missing"),
        ("redis://h,,", "a host is missing"),
        ("redis://a..b", "a host is missing or malformed"),
        (f"redis+sentinel://a,{'b' * 64}/shop", "a host is missing or malformed"),
        ("redis://a,b", "several hosts need redis\\+sentinel://"),
        ("redis://h:0", "the port must be a whole number from 1 to 65535"),
        ("redis://h:65536", "the port must be"),
        ("redis://h:", "the port must be"),
        ("redis://h/x", "the database must be a whole number"),
        ("redis://h/-1", "the database must be"),
        ("redis://h\n", "a control character"),
        ("redis://h?db=1", "takes no options"),
        ("redis://h?ssl_ca_certs=x", "needs TLS; write rediss://"),
        ("rediss://h?ssl_cacerts=x", "'ssl_cacerts' is not known; did you mean ssl_ca_certs"),
        ("rediss://h?ssl_cert_reqs=maybe", "ssl_cert_reqs must be none or optional or required"),
        ("rediss://h?ssl_keyfile=", "ssl_keyfile must be given a value"),
        ("rediss+sentinel://h", "the service is missing; write rediss.sentinel://"),
        ("redis+cluster://h?ssl_ca_certs=x", "ssl_ca_certs needs TLS; write rediss.cluster://"),
        ("rediss+cluster://h?sentinel_password=x", "'sentinel_password' is not known"),
        ("rediss://a,b", "several hosts need rediss.sentinel:// or rediss.cluster://"),
        ("redis://:100%@h", "written %25"),
        ("redis://:%ff@h", "must be UTF-8"),
        ("redis://:a/b@h", "percent-encode"),
        ("redis://:a?b@h", "percent-encode"),
        ("unix://", "absolute path: unix:///"),
        ("unix://run/redis.sock", "absolute path"),
        ("unix:///r.sock?db=x", "the database must be"),
        ("unix:///r.sock?password=x", "'password' is not known; did you mean db"),
        ("redis+sentinel://a:1", "the service is missing"),
        ("redis+sentinel://a:1/shop/x", "the database must be"),
        ("redis+cluster://a:1/3", "only the database 0"),
        ("embedded:", "the path is missing"),
        ("embedded://data", "a plain path"),
        ("embedded:a\x00b", "a plain path"),
    ],
)
def test_refuses_with_advice(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        RedisUrl.parse(text)


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("redis://user:hunter2@h:1/2", "redis://***@h:1/2"),
        ("rediss://:hunter2@h?ssl_cert_reqs=none", "rediss://***@h:6379/0"),
        ("redis://[::1]", "redis://[::1]:6379/0"),
        ("unix://:hunter2@/r.sock?db=1", "unix://***@/r.sock?db=1"),
        ("redis+sentinel://:hunter2@a,b/shop", "redis+sentinel://***@a:26379,b:26379/shop/0"),
        ("redis+cluster://:hunter2@a", "redis+cluster://***@a:6379"),
        ("embedded:data", "embedded:data"),
    ],
)
def test_prints_without_secrets(text: str, redacted: str) -> None:
    url = RedisUrl.parse(text)
    assert url.redacted == str(url) == f"{url}" == redacted
    assert repr(url) == f"RedisUrl('{redacted}')"
