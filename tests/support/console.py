"""A real console, and a browser's part in talking to it."""

from __future__ import annotations

import http.client
import json
import re
import sys
from collections.abc import Iterable, Mapping
from html import unescape
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from tests.support.eventually import PATIENCE
from tests.support.process import RunningProcess


class Answer(NamedTuple):
    """What came. text: of the body; headers: by lower-case names."""

    status: int
    text: str
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def shown(self) -> str:
        """The text that a person sees, on one line."""
        bare = re.sub(r"<(script|style)\b.*?</\1>|<[^>]+>", " ", self.text, flags=re.DOTALL)
        return " ".join(unescape(bare).split())

    @property
    def hidden(self) -> dict[str, str]:
        """The hidden fields of its forms."""
        found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', self.text)
        return {name: unescape(value) for name, value in found}


class RunningConsole(RunningProcess):
    """`fulfillment-worker console`; it keeps the cookie that it is given."""

    def __init__(
        self, redis_url: str, options: Iterable[str] = (), env: Mapping[str, str] | None = None
    ) -> None:
        self.cookie = ""
        super().__init__(
            [
                *(sys.executable, "-m", "fulfillment_worker", "console"),
                *("--redis-url", redis_url, "--port", "0", *options),
            ],
            env=env,
        )

    @property
    def port(self) -> int:
        """Waits for the line that names it."""
        return int(self.wait_for(r"the console is at http://[^/]+:(\d+)/")[1])

    def get(self, path: str, **more: Any) -> Answer:
        return self.ask("GET", path, **more)

    def post(self, path: str, fields: Mapping[str, str], **more: Any) -> Answer:
        """As a form does it."""
        return self.ask("POST", path, body=urlencode(fields), **more)

    def post_json(self, path: str, said: Mapping[str, Any], **more: Any) -> Answer:
        return self.ask("POST", path, body=json.dumps(said), **more)

    def order(self, order_id: str) -> Answer:
        return self.get(f"/orders/{quote(order_id, safe='')}")

    def act(self, path: str, why: str = "") -> Answer:
        """Do what the page at this path asks, as a person who confirms it."""
        asked = self.get(path)
        assert asked.status == 200, asked.shown
        return self.post(path.partition("?")[0], {**asked.hidden, "why": why})

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        said = {"Cookie": self.cookie} if self.cookie else {}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body=body, headers={**said, **(headers or {})})
            response = connection.getresponse()
            told = {name.lower(): value for name, value in response.getheaders()}
            answer = Answer(response.status, response.read().decode(), told)
        finally:
            connection.close()
        if "set-cookie" in answer.headers:
            self.cookie = answer.headers["set-cookie"].partition(";")[0]
        return answer
