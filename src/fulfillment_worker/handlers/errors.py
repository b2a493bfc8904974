"""What can be wrong with a handler when it is loaded."""

from __future__ import annotations

from fulfillment_worker.core.text import one_line

_LONGEST = 500


class HandlerError(Exception):
    """The handler can't be loaded. The message is one line that says why and what to do.

    It never holds credentials of a URL. Where code of the shop raised, that is the `__cause__`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(one_line(reason, _LONGEST))


class ResourcesUnavailable(Exception):
    """A handler's resources can't be made now, and may be later. The message is one line.

    The shop's exception is the `__cause__`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(one_line(reason, _LONGEST))
