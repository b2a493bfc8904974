"""The checker's rules for limits of the fleet. As the checker, it knows nothing of the program."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

_SLACK = 0.002
"""Seconds by which a start may be early, since Redis's milliseconds are whole."""


@dataclass(frozen=True)
class Limits:
    """What may be done at once: starts a second, orders in flight, and the same of each key."""

    rate: float | None = None
    burst: int = 1
    in_flight: int | None = None
    at_once: int | None = None
    key_rate: float | None = None
    key_burst: int = 1

    @classmethod
    def of(cls, event: dict[str, Any]) -> Limits | None:
        """As an event tells them; None for none."""
        told = {name: event[name] for name in cls.__dataclass_fields__ if event.get(name)}
        return cls(**told) if told else None

    @property
    def hold_up_all(self) -> bool:
        """Whether any order may have to wait, whatever its key."""
        return self.rate is not None or self.in_flight is not None


@dataclass
class Starts:
    """What has started by the rates, since all has been calm: by key, "" for the whole queue."""

    reached: dict[str, float] = field(default_factory=dict)

    def exceeds(self, t: float, key: str | None, limits: Limits) -> str:
        """Note a start; whether it came too soon: by which rate."""
        found = ""
        for name, rate, burst in (
            ("", limits.rate, limits.burst),
            (key, limits.key_rate, limits.key_burst),
        ):
            if rate is None or name is None:
                continue
            reached = max(self.reached.get(name, 0.0), t)
            if reached - t > (burst - 1) / rate + _SLACK:
                found = f"the rate of {rate:g}/s, {burst} at once"
            self.reached[name] = reached + 1 / rate
        return found
