"""Where a queue lives: every form of the Redis URL, parsed, and safe to print."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from urllib.parse import unquote

_UNFIT = re.compile(r"[\x00-\x20\x7f-\x9f]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_HOST = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>.*))?")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_REDIS_PORT, _SENTINEL_PORT = 6379, 26379


class Scheme(StrEnum):
    """The ways to reach a Redis server."""

    TCP = "redis"
    TLS = "rediss"
    UNIX = "unix"
    SENTINEL = "redis+sentinel"
    SENTINEL_TLS = "rediss+sentinel"
    CLUSTER = "redis+cluster"
    CLUSTER_TLS = "rediss+cluster"
    EMBEDDED = "embedded"

    @property
    def tls(self) -> bool:
        """Whether every connection is encrypted."""
        return self in (Scheme.TLS, Scheme.SENTINEL_TLS, Scheme.CLUSTER_TLS)

    @property
    def sentinel(self) -> bool:
        """Whether sentinels name the server."""
        return self in (Scheme.SENTINEL, Scheme.SENTINEL_TLS)

    @property
    def cluster(self) -> bool:
        """Whether the hosts are nodes of a cluster."""
        return self in (Scheme.CLUSTER, Scheme.CLUSTER_TLS)

    @property
    def with_tls(self) -> str:
        """The scheme for the same kind of server over TLS."""
        return str(self) if self.tls else str(self).replace("redis", "rediss", 1)


# What may follow the question mark, and the values allowed; None allows any that is not empty.
_FLAG_VALUES = ("true", "false")
_Options = dict[str, tuple[str, ...] | None]
_TLS_OPTIONS: _Options = {
    "ssl_ca_certs": None,
    "ssl_certfile": None,
    "ssl_keyfile": None,
    "ssl_cert_reqs": ("none", "optional", "required"),
    "ssl_check_hostname": _FLAG_VALUES,
}
_SENTINEL_OPTIONS: _Options = {"sentinel_username": None, "sentinel_password": None}
_OPTIONS: dict[Scheme, _Options] = {
    Scheme.TLS: _TLS_OPTIONS,
    Scheme.UNIX: {"db": None},
    Scheme.SENTINEL: _SENTINEL_OPTIONS,
    Scheme.SENTINEL_TLS: _SENTINEL_OPTIONS | _TLS_OPTIONS,
    Scheme.CLUSTER_TLS: _TLS_OPTIONS,
}


@dataclass(frozen=True, slots=True, repr=False)
class RedisUrl:
    """A Redis URL in parts. Neither `str` nor `repr` ever shows the user name or the password.

    hosts: (host, port) of the server, the sentinels or the cluster's nodes; none for the others.
    path: the socket of `unix`, or the directory of `embedded`.
    username, password: decoded; None where not given. A user name alone needs `password_file`.
    service: the name that the sentinels know the server by.
    options: the query's, in order; only the schemes with TLS and those of Sentinel have any.
    password_file: read for the password at each new connection; "" where there is none. It is no
        part of the URL's text, but a setting of its own.
    """

    scheme: Scheme
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    username: str | None = None
    password: str | None = None
    service: str = ""
    db: int = 0
    options: tuple[tuple[str, str], ...] = ()
    password_file: str = ""

    @classmethod
    def parse(cls, text: str) -> RedisUrl:
        """Read a URL. Raises ValueError, whose message says what is wrong but quotes nothing."""
        scheme, rest = _scheme(text)
        if scheme is Scheme.EMBEDDED:
            return cls(scheme, path=_embedded_path(rest))
        rest, options = _options(scheme, rest)
        authority, _, path = rest.partition("/")
        userinfo, at, hosts = authority.rpartition("@")
        username, password = _credentials(userinfo) if at else (None, None)
        login = cls(scheme, username=username, password=password)
        if scheme is Scheme.UNIX:
            return _unix(login, hosts, path, options)
        return _network(login, hosts, path, options)

    @property
    def redacted(self) -> str:
        """The URL for logs and messages: without secrets, and without the query."""
        if self.scheme is Scheme.EMBEDDED:
            return f"embedded:{self.path}"
        login = "***@" if self.username or self.password else ""
        return f"{self.scheme}://{login}{self._place}"

    @property
    def tls_options(self) -> dict[str, str]:
        """The options that are about TLS."""
        return {name: value for name, value in self.options if name in _TLS_OPTIONS}

    @property
    def sentinel_login(self) -> tuple[str | None, str | None]:
        """The user name and the password for sentinels, which have a login of their own."""
        options = dict(self.options)
        return options.get("sentinel_username"), options.get("sentinel_password")

    @property
    def _place(self) -> str:
        hosts = ",".join(f"{_bracketed(host)}:{port}" for host, port in self.hosts)
        match self.scheme:
            case Scheme.UNIX:
                return self.path + (f"?db={self.db}" if self.db else "")
            case Scheme.SENTINEL | Scheme.SENTINEL_TLS:
                return f"{hosts}/{self.service}/{self.db}"
            case Scheme.CLUSTER | Scheme.CLUSTER_TLS:
                return hosts
            case _:
                return f"{hosts}/{self.db}"

    def __str__(self) -> str:
        return self.redacted

    def __repr__(self) -> str:
        return f"RedisUrl({self.redacted!r})"


def _scheme(text: str) -> tuple[Scheme, str]:
    name, _, rest = text.partition(":")
    try:
        scheme = Scheme(name.lower())
    except ValueError:
        raise ValueError(_start_with()) from None
    if scheme is Scheme.EMBEDDED:
        return scheme, rest
    if not rest.startswith("//"):
        raise ValueError(_start_with())
    if _UNFIT.search(rest):
        raise ValueError("it has a space or a control character in it; percent-encode it")
    return scheme, rest[2:]


def _start_with() -> str:
    *network, _embedded = Scheme
    return f"start it with {', '.join(f'{name}://' for name in network)} or embedded:PATH"


def _embedded_path(path: str) -> str:
    if not path:
        raise ValueError("the path is missing; write embedded:PATH, such as embedded:./data")
    if path.startswith("//") or _CONTROL.search(path):
        raise ValueError("write a plain path after embedded:, such as embedded:/var/lib/orders")
    return path


def _options(scheme: Scheme, rest: str) -> tuple[str, dict[str, str]]:
    rest, mark, query = rest.partition("?")
    path = rest.partition("/")[2]
    if "@" in query or ("@" in path and scheme is not Scheme.UNIX):
        raise ValueError("percent-encode / ? and @ in the password: %2F, %3F and %40")
    pairs = [pair.partition("=") for pair in query.split("&")] if mark and query else []
    return rest, {name: _option(scheme, name, value) for name, _, value in pairs}


def _option(scheme: Scheme, name: str, value: str) -> str:
    known = _OPTIONS.get(scheme, {})
    if name not in known:
        raise ValueError(_no_such_option(scheme, name))
    allowed, value = known[name], _decoded(value)
    if not value or (allowed and value.lower() not in allowed):
        raise ValueError(f"{name} must be {' or '.join(allowed) if allowed else 'given a value'}")
    return value.lower() if allowed else value


def _no_such_option(scheme: Scheme, name: str) -> str:
    known = _OPTIONS.get(scheme, {})
    if name in _TLS_OPTIONS:
        tls = Scheme.TLS if scheme is Scheme.UNIX else scheme.with_tls
        return f"the option {name} needs TLS; write {tls}://"
    if not known:
        return f"{scheme}:// takes no options; remove the question mark and what follows"
    nearest = get_close_matches(name, known, n=1, cutoff=0.0)[0]
    return f"the option {name[:40]!r} is not known; did you mean {nearest}?"


def _credentials(userinfo: str) -> tuple[str | None, str | None]:
    name, colon, password = userinfo.partition(":")
    # A user name alone is for a password that comes from a file.
    if name and not colon:
        return _decoded(name), None
    return _decoded(name) or None, _decoded(password) if name else _decoded(password) or None


def _decoded(text: str) -> str:
    if _BAD_ESCAPE.search(text):
        raise ValueError("a % that is meant as itself is written %25")
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("what is percent-encoded must be UTF-8") from None


def _unix(login: RedisUrl, host: str, path: str, options: dict[str, str]) -> RedisUrl:
    if host or not path:
        raise ValueError("give the socket's absolute path: unix:///run/redis/redis.sock")
    return RedisUrl(
        Scheme.UNIX,
        path=f"/{_decoded(path)}",
        username=login.username,
        password=login.password,
        db=_database(options.get("db", "")),
    )


def _network(login: RedisUrl, hosts: str, path: str, options: dict[str, str]) -> RedisUrl:
    service, database = _service_and_database(login.scheme, path)
    return RedisUrl(
        login.scheme,
        hosts=_hosts(login.scheme, hosts),
        username=login.username,
        password=login.password,
        service=service,
        db=_database(database),
        options=tuple(options.items()),
    )


def _service_and_database(scheme: Scheme, path: str) -> tuple[str, str]:
    if scheme.sentinel:
        service, _, database = path.partition("/")
        if not service:
            raise ValueError(f"the service is missing; write {scheme}://HOST:PORT/SERVICE/DB")
        return _decoded(service), database
    if scheme.cluster and path not in ("", "0"):
        raise ValueError("a cluster has only the database 0; write nothing after the hosts")
    return "", path


def _database(text: str) -> int:
    if not re.fullmatch(r"[0-9]{0,9}", text):
        raise ValueError("the database must be a whole number, such as 0")
    return int(text or "0")


def _hosts(scheme: Scheme, text: str) -> tuple[tuple[str, int], ...]:
    hosts = tuple(_host(scheme, host) for host in text.split(","))
    if len(hosts) > 1 and scheme in (Scheme.TCP, Scheme.TLS):
        raise ValueError(f"several hosts need {scheme}+sentinel:// or {scheme}+cluster://")
    return hosts


def _host(scheme: Scheme, text: str) -> tuple[str, int]:
    match = _HOST.fullmatch(text)
    if not match or not resolvable(match["v6"] or match["name"]):
        raise ValueError("a host is missing or malformed; write HOST:PORT, or [IPV6]:PORT")
    default = _SENTINEL_PORT if scheme.sentinel else _REDIS_PORT
    port = match["port"]
    return match["v6"] or match["name"], default if port is None else _port(port)


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise ValueError("the port must be a whole number from 1 to 65535")
    return int(text)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def resolvable(name: str) -> bool:
    """Whether a resolver can be asked for the name; whether there is such a host, only it knows.

    `socket.getaddrinfo` raises no OSError over a part that is empty or above 63 characters, but a
    UnicodeError, since it encodes the name first.
    """
    try:
        name.encode("idna")
    except UnicodeError:
        return False
    return True
