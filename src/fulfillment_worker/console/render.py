"""Contexts to HTML. Whatever a template prints is escaped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from fulfillment_worker.admin.rules.why import span
from fulfillment_worker.console.access import Options, Visitor
from fulfillment_worker.console.acts import LONGEST_WHY, url_of_act
from fulfillment_worker.core.text import visible


class Renderer:
    """digest: of the static files, whose addresses change with their content."""

    def __init__(self, options: Options, version: str, digest: str) -> None:
        self._templates = Environment(
            loader=PackageLoader(__package__ or "", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {
            "iso": iso,
            "clock": clock,
            "away": away,
            "span": span,
            "segment": lambda text: quote(str(text), safe=""),
            "shown": lambda text: visible(str(text)),
        }
        self._templates.globals |= {
            "asset": lambda name: f"/static/{name}?{digest}",
            "act_url": url_of_act,
            "rights": sorted(options.allow),
            "has_token": options.token is not None,
            "version": version,
            "longest_why": LONGEST_WHY,
        }

    def page(
        self,
        template: str,
        context: Mapping[str, Any],
        *,
        visitor: Visitor | None,
        path: str,
        live: float,
        may: Callable[[str], bool],
        now: int,
    ) -> str:
        """live: seconds after which a script looks again, 0 for never. now: Unix ms."""
        html: str = self._templates.get_template(template).render(
            **context, visitor=visitor, path=path, live=live, may=may, now=now
        )
        return html


def iso(at: int) -> str:
    """A Unix time in ms, for machines."""
    return _utc(at).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def clock(at: int) -> str:
    """A Unix time in ms, for people whose browser runs no script."""
    return f"{_utc(at):%Y-%m-%d %H:%M:%S} UTC"


def away(at: int, now: int) -> str:
    """How far a Unix time in ms is from now."""
    if abs(now - at) < 1000:
        return "now"
    return f"in {span(at - now)}" if at > now else f"{span(now - at)} ago"


def _utc(at: int) -> datetime:
    try:
        return datetime.fromtimestamp(at / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)
