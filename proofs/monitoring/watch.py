"""Prometheus, Alertmanager and a receiver of notifications, for several jobs side by side."""

from __future__ import annotations

import http.client
import re
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Self

import psutil
import yaml

from fulfillment_worker.monitoring.target import Target
from fulfillment_worker.monitoring.write import files
from proofs.monitoring.receiver import Receiver
from tests.support.eventually import eventually
from tests.support.process import RunningProcess, free_port
from tests.support.prometheus import PrometheusApi, program

DOCS = Path(__file__).parents[2] / "docs"
INTERVAL = "500ms"
"""Between two scrapes, and between two evaluations of the rules."""


def documented(key: str) -> dict[str, Any]:
    """The block of YAML in docs/monitoring.md that has this key on its top level."""
    text = (DOCS / "monitoring.md").read_text()
    blocks = re.findall(r"^```yaml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    (found,) = (block for block in map(yaml.safe_load, blocks) if key in block)
    return dict(found)


class Prometheus(PrometheusApi):
    """Reads its configuration anew when told to."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        super().__init__(
            [
                program("prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--web.enable-lifecycle",
                # An alert ends for Alertmanager when it wasn't heard of for four of these.
                "--rules.alert.resend-delay=1s",
            ],
            cwd=folder,
        )
        self.wait_for("Server is ready to receive web requests")

    def reload(self) -> None:
        """Returns when the new configuration is in force."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request("POST", "/-/reload")
            assert connection.getresponse().status == 200, self.output[-2000:]
        finally:
            connection.close()


class Alertmanager(RunningProcess):
    """As the docs configure it, but for a receiver of the test's and without long waits."""

    def __init__(self, folder: Path, receiver: Receiver) -> None:
        self.port = free_port()
        config = documented("receivers")
        config["route"] |= {"group_wait": "100ms", "group_interval": "500ms"}
        for each in config["receivers"]:
            for hook in each["webhook_configs"]:
                hook["url"] = re.sub(r":\d+/", f":{receiver.port}/", hook["url"])
        (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
        super().__init__(
            [
                program("prometheus-alertmanager"),
                f"--config.file={folder / 'alertmanager.yml'}",
                f"--storage.path={folder / 'alertmanager'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--cluster.listen-address=",
            ],
            cwd=folder,
        )
        self.wait_for("Listening on")


class Job(NamedTuple):
    """What is scraped under one name. dropped: a metric that a wrong relabelling drops."""

    target: Target
    ports: list[int]
    dropped: str = ""


class Watch:
    """Attributes: prometheus, receiver. As a context manager, it ends all that it started."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._port = free_port()

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        self.receiver = Receiver()
        self._stack.callback(self.receiver.close)
        self._alertmanager = self._stack.enter_context(Alertmanager(self._folder, self.receiver))
        self._configure()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self) -> None:
        """Start Prometheus, on the same port and data as before."""
        self.prometheus = self._stack.enter_context(Prometheus(self._folder, self._port))

    def add(self, job: Job) -> None:
        """Scrape it, with the rules and alerts of its target; or change how."""
        with self._lock:
            self._jobs[job.target.job] = job
            self._configure()
            self.prometheus.reload()

    def remove(self, name: str) -> None:
        """From the next change on: each one keeps Prometheus from Alertmanager for 5 s."""
        with self._lock:
            del self._jobs[name]

    def _configure(self) -> None:
        for name, job in self._jobs.items():
            for file, text in files(job.target).items():
                if file.endswith(".yaml"):
                    (self._folder / f"{name}-{file}").write_text(text)
        config = documented("scrape_configs") | {
            "global": {
                "scrape_interval": INTERVAL,
                "scrape_timeout": INTERVAL,
                "evaluation_interval": INTERVAL,
            },
            "rule_files": [str(self._folder / f"{name}-*.yaml") for name in self._jobs],
            "scrape_configs": [_scraped(job) for job in self._jobs.values()],
        }
        for manager in config["alerting"]["alertmanagers"]:
            manager["static_configs"] = [{"targets": [f"127.0.0.1:{self._alertmanager.port}"]}]
        (self._folder / "prometheus.yml").write_text(yaml.safe_dump(config))

    def active(self, job: str) -> set[str]:
        """The names of the alerts that fire or are about to, by Prometheus."""
        samples = self.prometheus.query(f'ALERTS{{job="{job}"}}')
        return {sample.labels["alertname"] for sample in samples}

    def await_up(self, job: str) -> None:
        """Wait until all workers of a job are scraped."""
        ports = {f"127.0.0.1:{port}" for port in self._jobs[job].ports}

        def all_up() -> bool:
            up = self.prometheus.query(f'up{{job="{job}"}} == 1')
            return {sample.labels["instance"] for sample in up} == ports

        eventually(all_up, what=f"all workers of {job} are scraped")

    def await_scrape_of(self, job: str, pid: int, port: int) -> None:
        """Wait until the process that listens there now has been scraped."""
        instance = f'{{job="{job}",instance="127.0.0.1:{port}"}}'
        started = psutil.Process(pid).create_time()
        eventually(
            lambda: (
                abs((self.prometheus.value(f"process_start_time_seconds{instance}") or 0) - started)
                < 0.5
            ),
            what=f"the new worker of {job} is scraped",
        )


def _scraped(job: Job) -> dict[str, Any]:
    relabelled = {
        "source_labels": ["__name__"],
        "regex": job.dropped,
        "action": "drop",
    }
    return {
        "job_name": job.target.job,
        "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in job.ports]}],
        **({"metric_relabel_configs": [relabelled]} if job.dropped else {}),
    }
