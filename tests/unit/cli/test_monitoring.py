"""`monitoring`: files for one deployment, and nothing else overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fulfillment_worker.monitoring.target import Target
from fulfillment_worker.monitoring.write import MARK, files
from tests.unit.cli.conftest import Run


def test_the_defaults_are_written(cli: Run, tmp_path: Path) -> None:
    result = cli("monitoring", str(tmp_path / "new"))
    assert result.exit_code == 0, result.output
    for name, text in files(Target()).items():
        assert (tmp_path / "new" / name).read_text() == text
        assert f"wrote {tmp_path / 'new' / name}" in result.stdout.splitlines()
    assert all(MARK in text for text in files(Target()).values())


def test_a_deployments_own(cli: Run, tmp_path: Path) -> None:
    result = cli(
        *("monitoring", str(tmp_path), "--json", "--queue", "rush,orders", "--job", "shop"),
        *("--selector", "namespace=shop, cluster=north", "--error-objective", "99.5"),
        *("--late-objective", "95", "--late-after", "5m", "--runbooks", "https://wiki.example/r"),
        *("--scaled-object", "shop-worker"),
    )
    assert result.exit_code == 0, result.output
    target = Target(
        job="shop",
        selectors=(("namespace", "shop"), ("cluster", "north")),
        queues=("rush", "orders"),
        error_objective=99.5,
        late_objective=95,
        late_after=300,
        runbooks="https://wiki.example/r",
        scaled_object="shop-worker",
    )
    expected = {str(tmp_path / name): text for name, text in files(target).items()}
    assert sorted(json.loads(result.stdout)) == sorted(expected)
    assert {path: Path(path).read_text() for path in expected} == expected


def test_a_resource_for_the_operator(cli: Run, tmp_path: Path) -> None:
    result = cli("monitoring", str(tmp_path), "--format", "prometheusrule")
    assert result.exit_code == 0, result.output
    assert "kind: PrometheusRule" in (tmp_path / "prometheusrule.yaml").read_text()


def test_its_own_files_are_written_anew(cli: Run, tmp_path: Path) -> None:
    cli("monitoring", str(tmp_path), "--job", "one")
    assert cli("monitoring", str(tmp_path), "--job", "two").exit_code == 0
    assert 'job="two"' in (tmp_path / "rules.yaml").read_text()
    assert not list(tmp_path.rglob(".*"))


def test_what_others_wrote_is_left_alone(cli: Run, tmp_path: Path) -> None:
    (tmp_path / "alerts.yaml").write_text("mine")
    result = cli("monitoring", str(tmp_path))
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "alerts.yaml" in line
    assert "--force" in line
    assert (tmp_path / "alerts.yaml").read_text() == "mine"
    assert not (tmp_path / "rules.yaml").exists()
    assert cli("monitoring", str(tmp_path), "--force").exit_code == 0
    assert MARK in (tmp_path / "alerts.yaml").read_text()


def test_a_folder_that_cannot_be_made(cli: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = cli("monitoring", str(tmp_path / "file" / "in"))
    assert result.exit_code == 1
    assert "can't be written" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("option", "value", "hint"),
    [
        ("--job", "", "1 to 256 characters"),
        ("--job", "a\nb", "without control characters"),
        ("--selector", "namespace", "LABEL=VALUE"),
        ("--selector", "a=1,a=2", "each label once"),
        ("--selector", "job=x", "none of job"),
        ("--selector", "__name__=x", "LABEL=VALUE"),
        ("--selector", "1a=x", "LABEL=VALUE"),
        ("--error-objective", "90", "from 95 to 99.999"),
        ("--error-objective", "100", "from 95 to 99.999"),
        ("--late-objective", "many", "from 95 to 99.999"),
        ("--late-after", "7s", "one of 1, 2.5, 5"),
        ("--late-after", "soon", "one of 1, 2.5, 5"),
        ("--format", "xml", "files or prometheusrule"),
    ],
)
def test_wrong_values_are_told(
    cli: Run, tmp_path: Path, option: str, value: str, hint: str
) -> None:
    result = cli("monitoring", str(tmp_path), option, value)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"fulfillment-worker: {option} is ")
    assert hint in line
    assert not list(tmp_path.iterdir())
