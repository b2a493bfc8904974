"""What an error of Redis means, and one line for people that says what to do.

A server's answer is known by its code (`NOPERM …`), wherever it stands: what ran a script may wrap
it, and so do clients. Only where there is no code, the words decide.
"""

from __future__ import annotations

import re

from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError

from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.core.text import one_line

_LONGEST = 300


class ServerTooOld(RedisError):
    """The server's version, as it tells it."""


class NoLogin(RedisError):
    """There is no password to log in with: its file can't be read. The message says why."""


class SentinelLogin(AuthenticationError):
    """A sentinel refused the login, or wants one."""


_WRITES = "takes no writes"
_EXPLANATIONS = {
    "NOAUTH": (
        "needs a password, and none was given: write redis://:PASSWORD@… in FULFILLMENT_REDIS_URL, "
        "or name a file with it in FULFILLMENT_REDIS_PASSWORD_FILE"
    ),
    "WRONGPASS": "refused the user name or the password: correct them in {where}",
    "DENIED": (
        "is in protected mode, and takes nobody from another host: give it a password "
        "(requirepass), and name it in {where}; or, on a private network, set protected-mode no"
    ),
    "MAXCLIENTS": "takes no more connections: raise its maxclients, or close some",
    "NOPERM": "does not permit this user a command: {}",
    "UNKNOWN": "does not know a command that is needed (was it renamed?): {}",
    "LOADING": "is loading its data; it will answer when that is done",
    "READONLY": "is a read-only replica: point FULFILLMENT_REDIS_URL at the primary",
    "MASTERDOWN": "is a replica without its primary: point FULFILLMENT_REDIS_URL at the primary",
    "OOM": "is out of memory: raise its maxmemory, or free some",
    "MISCONF": f"{_WRITES}, since it can't save them to disk: {{}}",
    "NOREPLICAS": f"{_WRITES}, since too few replicas are in step: {{}}",
    "BUSY": "is busy with a script: {}",
    "CLUSTERDOWN": "is a cluster that is down, in part at least: {}",
    "MOVED": "is a node of a cluster: write {cluster}:// in FULFILLMENT_REDIS_URL",
    "ASK": "is moving the queue to another node of the cluster; claiming goes on after that",
    "TRYAGAIN": "is moving the queue to another node of the cluster; claiming goes on after that",
    "WRONGTYPE": (
        "has something foreign under a key of the queue: `fulfillment-worker doctor` names it"
    ),
}
_CODE = re.compile(rf"(?:^|[-'\"]|: -?)({'|'.join(_EXPLANATIONS)}) ")
_CLASSES = {
    NoPermissionError: "NOPERM",
    BusyLoadingError: "LOADING",
    ReadOnlyError: "READONLY",
    MasterDownError: "MASTERDOWN",
    OutOfMemoryError: "OOM",
    ClusterDownError: "CLUSTERDOWN",
    MovedError: "MOVED",
    AskError: "ASK",
    TryAgainError: "TRYAGAIN",
}
# Without a code, by the words: what a script may not do has those of Redis 7.0, and of later ones.
_WORDS = (
    ("NOPERM", re.compile(r"user executing the script|acl failure|no permissions? to", re.I)),
    ("UNKNOWN", re.compile(r"unknown (redis )?(command|subcommand)", re.I)),
    ("NOAUTH", re.compile(r"authentication required|must be called with the client already", re.I)),
    ("WRONGPASS", re.compile(r"invalid password|without any password configured", re.I)),
    ("MAXCLIENTS", re.compile(r"max number of clients", re.I)),
)


def code_of(error: BaseException) -> str:
    """The server's code for what went wrong, `UNKNOWN` for a command that it lacks; "" for none."""
    told = getattr(error, "status_code", None) or _CLASSES.get(type(error))
    if told in _EXPLANATIONS:
        return str(told)
    text = str(error)
    found = _CODE.search(text)
    if found:
        return found[1]
    if isinstance(error, RedisError):
        return next((code for code, words in _WORDS if words.search(text)), "")
    return ""


def explain(error: BaseException, url: RedisUrl) -> str:
    """What happened and what to do, in one line without secrets."""
    error = cause_of(error)
    return f"Redis at {url.redacted} {_says(error, url).format(words_of(error), **_names(url))}"


def cause_of(error: BaseException) -> BaseException:
    """What the server said, which a cluster's client wraps into an error of its own."""
    inner = error.__cause__ or error.__context__
    if isinstance(error, RedisClusterException) and inner:
        return cause_of(inner)
    return error


def _says(error: BaseException, url: RedisUrl) -> str:
    if isinstance(error, ServerTooOld):
        return (
            "is version {}: Redis 7.0 or later, or Valkey 7.2 or later, is needed; "
            "upgrade the server"
        )
    if isinstance(error, NoLogin):
        return "can't be logged in to: FULFILLMENT_REDIS_PASSWORD_FILE is {}"
    code = code_of(error)
    if isinstance(error, SentinelLogin):
        return _SENTINELS[code == "NOAUTH"]
    if code == "MOVED" and url.scheme.cluster:
        code = "TRYAGAIN"
    if code:
        return _EXPLANATIONS[code]
    return next(says for kind, says in _OTHERS if isinstance(error, kind))


# The first that fits, of what has no code.
_OTHERS: tuple[tuple[type[BaseException], str], ...] = (
    (AuthenticationError, _EXPLANATIONS["WRONGPASS"]),
    (ResponseError, "refused: {}"),
    (TimeoutError, "does not answer: {}"),
    (RedisTimeoutError, "does not answer: {}"),
    (BaseException, "can't be reached: {}"),
)


_SENTINELS = {
    True: (
        "has a sentinel that needs a password, and none was given: add "
        "?sentinel_password=PASSWORD in FULFILLMENT_REDIS_URL"
    ),
    False: (
        "has a sentinel that refused the user name or the password: correct sentinel_username and "
        "sentinel_password in FULFILLMENT_REDIS_URL"
    ),
}


def _names(url: RedisUrl) -> dict[str, str]:
    where = f"FULFILLMENT_REDIS_URL, or in {url.password_file}" if url.password_file else ""
    return {
        "where": where or "FULFILLMENT_REDIS_URL",
        "cluster": "rediss+cluster" if url.scheme.tls else "redis+cluster",
    }


def words_of(error: BaseException) -> str:
    """The error's own words on one line; its class where it has none."""
    return one_line(str(error), _LONGEST) or type(error).__name__
