"""Limits of the fleet: what all workers of a queue may do together, as data and arithmetic.

Redis keeps them and counts (queue/lua/limits.lua), so that all workers obey the same ones. The rule
for rates is the generic cell rate algorithm (ITU-T I.371): a time is kept that moves on by one
interval with each start, and a start may be so far ahead of it as the burst allows.
"""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec

UNITS = {"s": 1000, "m": 60_000, "h": 3_600_000}
"""The units of a rate, in ms."""
UNIT_NAMES = {"s": "second", "m": "minute", "h": "hour"}
MOST = 1_000_000
"""The largest number of any limit."""
_WORDS = {
    **dict.fromkeys(("s", "sec", "second"), "s"),
    **dict.fromkeys(("m", "min", "minute"), "m"),
    **dict.fromkeys(("h", "hour"), "h"),
}
_RATE = re.compile(r"([0-9]{1,7}) ?/ ?([a-z]+)")
_BURST_MS = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_LARGEST = 1.7976931348623157e308
"""A larger number is infinite to Redis."""
_LONGEST_PATH = 128
_LONGEST_KEY = 256
"""Bytes of a key; a longer text is none."""


class Rate(msgspec.Struct, frozen=True):
    """So many starts per unit. per: one of UNITS."""

    count: int
    per: str

    allowed = f"a whole number from 1 to {MOST} per second, minute or hour: 10/s, 90/m or 500/h"

    @classmethod
    def parse(cls, text: str) -> Rate:
        """From `10/s`. Raises ValueError."""
        found = _RATE.fullmatch(text.strip().lower())
        unit = _WORDS.get(found[2]) if found else None
        if found is None or unit is None or not 1 <= int(found[1]) <= MOST:
            raise ValueError(f"give {cls.allowed}")
        return cls(int(found[1]), unit)

    def __str__(self) -> str:
        return f"{self.count}/{self.per}"

    @property
    def interval(self) -> float:
        """Milliseconds from one start to the next."""
        return UNITS[self.per] / self.count

    @property
    def usual_burst(self) -> int:
        """Starts at once where nothing else is said: what is due in a fifth of a second."""
        return max(1, math.floor(_BURST_MS / self.interval))


def tokens(until: float, now: float, interval: float, burst: int) -> int:
    """How many may start now. until: the time that the starts so far have reached, in ms."""
    return math.floor(burst - max(until - now, 0.0) / interval + 1e-6)


def after_start(until: float, now: float, interval: float) -> float:
    """The time that the starts have reached with one more."""
    return max(until, now) + interval


def next_start(until: float, interval: float, burst: int, many: int = 1) -> float:
    """When so many may start, in ms. many: at most the burst."""
    return until - (burst - many) * interval


def no_further(until: float, now: float, interval: float, burst: int) -> float:
    """The time that the starts have reached, no further ahead than by the burst.

    It may be, where a slower rate was set before, or the clock was ahead.
    """
    return min(until, now + burst * interval)


class Limits(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What is set for a queue; None for no limit. It is kept as JSON.

    rate, burst: attempts started, of the whole fleet. in_flight: orders held by workers. per_key: a
    dotted path into the order, to the key. at_once, key_rate, key_burst: the same for each key.
    generation: changes whenever that for keys does.
    """

    rate: Rate | None = None
    burst: int = 0
    in_flight: int | None = None
    per_key: str | None = None
    at_once: int | None = None
    key_rate: Rate | None = None
    key_burst: int = 0
    generation: int = 0

    @property
    def are_set(self) -> bool:
        """Whether there is any."""
        return not (self.rate is None and self.in_flight is None and self.per_key is None)

    @property
    def largest_burst(self) -> int:
        """Starts at once, of the whole fleet; 0 where there is no rate."""
        return (self.burst or self.rate.usual_burst) if self.rate else 0

    @property
    def largest_key_burst(self) -> int:
        """The same of one key."""
        return (self.key_burst or self.key_rate.usual_burst) if self.key_rate else 0

    def kept(self) -> bytes:
        """As Redis keeps them."""
        told = msgspec.to_builtins(self)
        for name, burst in (("burst", self.largest_burst), ("key_burst", self.largest_key_burst)):
            if burst:
                told[name] = burst
        return msgspec.json.encode(told)


NO_LIMITS = Limits()


class Started(msgspec.Struct, frozen=True):
    """What has started by a rate, as Redis keeps it. Times in ms, without the steps of its clock.

    reached: the time that the starts have reached. window: when the unit of the rate began in which
    the last one started. count, before: starts in that unit, and in the one before.
    """

    reached: float = 0.0
    window: float = 0.0
    count: int = 0
    before: int = 0

    @classmethod
    def read(cls, kept: bytes | None) -> Started:
        """As limits.lua writes it; nothing where there is nothing usable."""
        try:
            reached, window, count, before = map(float, (kept or b"").split())
        except ValueError:
            return cls()
        return cls(reached, window, int(count), int(before))

    def lately(self, rate: Rate, now: float) -> int:
        """How many started in the last unit of the rate, nearly."""
        unit = UNITS[rate.per]
        window = now // unit * unit
        if window == self.window:
            return round(self.count + self.before * (1 - (now - window) / unit))
        return (
            round(self.count * (1 - (now - window) / unit)) if window - self.window == unit else 0
        )


def read_limits(kept: bytes | None) -> Limits:
    """What `kept` wrote; no limits where there is nothing, or nothing usable."""
    try:
        return msgspec.json.decode(kept or b"{}", type=Limits)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return NO_LIMITS


def changed(was: Limits, changes: dict[str, Any]) -> Limits:
    """The limits with some of them set, or lifted (None).

    changes: values of the fields of Limits. Raises ValueError where they make no sense together.
    """
    told = dict(changes)
    if "rate" in told and "burst" not in told:
        told["burst"] = 0
    if "key_rate" in told and "key_burst" not in told:
        told["key_burst"] = 0
    told = {name: value or 0 if name.endswith("burst") else value for name, value in told.items()}
    if told.get("per_key", "") is None:
        if told.get("at_once") or told.get("key_rate"):
            raise ValueError(
                "--per-key off lifts all limits of keys: leave out --at-once and --key-rate"
            )
        told |= {"at_once": None, "key_rate": None, "key_burst": 0}
    elif told.get("per_key") and not (told.get("key_rate") or was.key_rate or "at_once" in told):
        told["at_once"] = was.at_once or 1
    now = msgspec.structs.replace(was, **told)
    _check(now, told)
    if _keyed(now) != _keyed(was):
        now = msgspec.structs.replace(now, generation=was.generation + 1)
    return now


def _check(now: Limits, told: dict[str, Any]) -> None:
    if now.per_key is None and (now.at_once or now.key_rate):
        raise ValueError(
            "--at-once and --key-rate are limits of each key: give --per-key FIELD as well"
        )
    if now.per_key is not None and not (now.at_once or now.key_rate):
        raise ValueError(
            "nothing limits a key then: give --at-once or --key-rate, or lift both by --per-key off"
        )
    if told.get("burst") and now.rate is None:
        raise ValueError("--burst says how many may start at once by a rate: give --rate as well")
    if told.get("key_burst") and now.key_rate is None:
        raise ValueError("--key-burst belongs to a rate of each key: give --key-rate as well")


def _keyed(limits: Limits) -> tuple[object, ...]:
    return limits.per_key, limits.at_once, limits.key_rate, limits.largest_key_burst


def parse_path(text: str) -> str:
    """A dotted path into the order, such as `customer.id`. Raises ValueError."""
    parts = text.split(".")
    if not 1 <= len(text) <= _LONGEST_PATH or not all(parts) or _CONTROL.search(text):
        raise ValueError(
            f"give the name of a field, or a path of names with dots, such as customer.id, of at "
            f"most {_LONGEST_PATH} characters"
        )
    return text


def key_of(body: object, path: str) -> str | None:
    """The order's key; None where it has none that is usable.

    A text without control characters, or a number: 17 and "17" are one key.
    """
    value = body
    for name in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    if isinstance(value, str):
        usable = 0 < len(value.encode(errors="replace")) <= _LONGEST_KEY
        return value if usable and not re.search(r"[\x00-\x1f\x7f]", value) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > _LARGEST:
        return None
    whole = float(value).is_integer() and abs(value) < 2**53
    return f"{int(value)}" if whole else f"{float(value):.17g}"
