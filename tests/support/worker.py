"""A real worker process, with a handler of the test's own."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.support.eventually import PATIENCE, eventually
from tests.support.process import RunningProcess

FULFIL_ALL = "async def fulfil(order):\n    pass\n"


class Samples(dict[str, float]):
    """A scrape: `name{label="value",…}` (labels sorted by name) -> value."""

    def get_sample(self, name: str, **labels: str) -> float:
        """The value of one series; KeyError names those that there are under that name."""
        key = series(name, labels)
        if key not in self:
            raise KeyError(f"{key}; there are {[other for other in self if name in other]}")
        return self[key]


def series(name: str, labels: Mapping[str, str]) -> str:
    """The key of a series in Samples."""
    inner = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{inner}}}" if inner else name


def parse_samples(text: str) -> Samples:
    """The samples of a page in Prometheus's text format."""
    return Samples(
        (series(sample.name, sample.labels), sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    )


class RunningWorker(RunningProcess):
    """`fulfillment-worker run` in `folder`, with `handler` as the source of its module `shop`.

    handler: defines `fulfil(order)`. options: more flags, after those given here.
    program: what Python runs.
    """

    def __init__(
        self,
        folder: Path,
        redis_url: str,
        handler: str = FULFIL_ALL,
        options: Iterable[str] = (),
        env: Mapping[str, str] | None = None,
        program: Sequence[str] = ("-m", "fulfillment_worker"),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # At once: others in the same folder may be about to import it.
        (folder / "shop.new").write_text(handler)
        (folder / "shop.new").replace(folder / "shop.py")
        super().__init__(
            [
                *(sys.executable, *program, "run"),
                *("--redis-url", redis_url, "--handler", "shop:fulfil"),
                *("--metrics-host", "127.0.0.1", "--metrics-port", "0"),
                *options,
            ],
            cwd=folder,
            env={"PYTHONPATH": str(folder), **(env or {})},
        )

    @property
    def metrics_port(self) -> int:
        """Waits for the line that names it."""
        return int(self.wait_for(r"Metrics server starting on port (\d+)")[1])

    @property
    def log(self) -> list[dict[str, Any]]:
        """Its JSON log lines so far."""
        return [json.loads(line) for line in list(self.lines) if line.startswith("{")]

    def events(self, name: str) -> list[dict[str, Any]]:
        """Its log lines so far that tell of the event `name`."""
        return [line for line in self.log if line.get("event") == name]

    def told(self, name: str) -> list[float]:
        """When it told of the event `name`, in seconds of CLOCK_MONOTONIC."""
        return [
            came
            for line, came in zip(list(self.lines), self.came, strict=False)
            if line.startswith("{") and json.loads(line).get("event") == name
        ]

    def get(
        self,
        path: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        timeout: float = PATIENCE,
    ) -> tuple[int, str]:
        """The status and the body of a request to the metrics port."""
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=timeout)
        try:
            connection.request(method, path, headers=dict(headers or {}))
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def scrape(self) -> Samples:
        """What /metrics says now."""
        status, body = self.get("/metrics")
        assert status == 200, body
        return parse_samples(body)

    def wait_until_fulfilled(self, orders: int) -> Samples:
        """Return /metrics once it counts so many orders as fulfilled.

        Redis knows of an end before the worker knows that it does: an order whose status is
        `fulfilled` may not be counted yet.
        """
        page = Samples()

        def counted() -> bool:
            nonlocal page
            page = self.scrape()
            found = page.get_sample("orders_processed_total", status="success")
            assert found <= orders, found
            return found == orders

        eventually(counted, what=f"{orders} orders are counted as fulfilled")
        return page

    def wait_until_ready(self, *, deadline: float = PATIENCE) -> None:
        """Return when /readyz says that it consumes."""

        def ready() -> bool:
            if self.returncode is not None:
                raise RuntimeError(f"exit {self.returncode}:\n{self.output}")
            try:
                status, body = self.get("/readyz")
            except OSError as error:  # a busy machine
                raise AssertionError(str(error)) from error
            assert status == 200, f"{body}\n{self.output}"
            return True

        eventually(ready, deadline=deadline, what="/readyz 200")
