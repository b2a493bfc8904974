"""A real Prometheus server that scrapes what a test names."""

from __future__ import annotations

import http.client
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
import yaml

from tests.support.eventually import PATIENCE, eventually
from tests.support.process import RunningProcess, free_port


class Sample(NamedTuple):
    """One element of an instant vector."""

    labels: dict[str, str]
    value: float


def program(name: str) -> str:
    """The path of `prometheus`, `promtool` and their like; the test fails where it is missing."""
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is missing; run: make system-packages")
    return found


class PrometheusApi(RunningProcess):
    """A running Prometheus, to be asked. port: where it listens on loopback."""

    port: int

    def api(self, path: str, **parameters: str) -> Any:
        """The `data` of an answer of /api/v1/PATH."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", f"/api/v1/{path}?{urlencode(parameters)}")
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression: str) -> list[Sample]:
        """The instant vector of a PromQL expression."""
        found = self.api("query", query=expression)
        assert found["resultType"] == "vector", found
        return [Sample(each["metric"], float(each["value"][1])) for each in found["result"]]

    def value(self, expression: str) -> float | None:
        """The value of an expression that gives one sample; None where it gives none."""
        samples = self.query(expression)
        assert len(samples) <= 1, samples
        return samples[0].value if samples else None

    def wait_for_scrape(self, *, deadline: float = PATIENCE) -> None:
        """Return when every target was scraped without a fault."""

        def healthy() -> bool:
            targets = self.api("targets", state="active")["activeTargets"]
            faults = [target for target in targets if target["health"] != "up"]
            assert not faults, [(fault["scrapeUrl"], fault["lastError"]) for fault in faults]
            return bool(targets)

        eventually(healthy, deadline=deadline, what="all targets up")


class PrometheusServer(PrometheusApi):
    """Scrapes `targets` (`host:port`) as the job `fulfillment-worker`; evaluates `rule_files`.

    found_in: a file with more of them, read whenever it changes. flags: more of the program's own.
    """

    def __init__(
        self,
        folder: Path,
        targets: Sequence[str],
        *,
        interval: str = "250ms",
        rule_files: Iterable[Path] = (),
        found_in: Path | None = None,
        flags: Iterable[str] = (),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        config = {
            "global": {
                "scrape_interval": interval,
                "scrape_timeout": interval,
                "evaluation_interval": interval,
            },
            "rule_files": [str(path) for path in rule_files],
            "scrape_configs": [
                {
                    "job_name": "fulfillment-worker",
                    "static_configs": [{"targets": list(targets)}],
                    **({"file_sd_configs": [{"files": [str(found_in)]}]} if found_in else {}),
                }
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        super().__init__(
            [
                program("prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                *flags,
            ],
            cwd=folder,
        )
        self.wait_for("Server is ready to receive web requests")
