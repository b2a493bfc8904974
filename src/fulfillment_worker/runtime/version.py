"""Which build this is."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, distribution

_NAME = "fulfillment-worker"


def version() -> str:
    """The package's version."""
    try:
        return distribution(_NAME).version
    except PackageNotFoundError:
        return "unknown"


def revision() -> str:
    """The source's commit, where pip noted it (PEP 610); else "unknown"."""
    try:
        noted = json.loads(distribution(_NAME).read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        return "unknown"
    return str(noted.get("vcs_info", {}).get("commit_id", "unknown"))
