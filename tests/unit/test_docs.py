"""The docs say what the code does: what they name exists, and their examples run."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest

from fulfillment_worker import Order
from fulfillment_worker.cli.main import COMMANDS, main
from fulfillment_worker.config.settings import SPECS, VARIABLES
from fulfillment_worker.core.decode import Decoded, decode
from fulfillment_worker.core.exchange import Exchange, Reply, Verdict
from fulfillment_worker.core.outcome import SUCCEEDED, Deferred, Rejected, Result
from fulfillment_worker.handlers import LoadedHandler, load
from fulfillment_worker.monitoring.rules import rules
from fulfillment_worker.monitoring.target import Target
from fulfillment_worker.observability import event_log
from fulfillment_worker.observability.catalogue import CATALOGUE
from fulfillment_worker.observability.spec import MetricKind
from fulfillment_worker.queue import keys
from fulfillment_worker.supervisor import fleet, release
from tests.support.attempt import OneAttempt

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "fulfillment_worker"
LUA = {file.name: file.read_text() for file in (PACKAGE / "queue" / "lua").glob("*.lua")}
# Options of other programs that the docs speak of.
FOREIGN_FLAGS = {"--read-only"}
# Words that look like metrics and are none.
NO_METRICS = {"fulfillment_worker", "order_id", "order_timeout"}
# Words of the event log that look like events and are none.
NO_EVENTS = {"fulfillment_worker", "order_id", "half_opened"}


class Block(NamedTuple):
    """A block of code. directive: of the comment above it, "" for none."""

    where: str
    language: str
    code: str
    directive: str


class Page:
    """One page of the docs. prose: without its blocks of code. spans: `code` within that."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.name = str(file.relative_to(ROOT))
        self.text = file.read_text(encoding="utf-8")
        fence = re.compile(
            r"(?:^<!-- test: (?P<directive>[^\n]+) -->\n)?"
            r"^```(?P<language>\w*)\n(?P<code>.*?)^```$",
            re.DOTALL | re.MULTILINE,
        )
        self.blocks = [
            Block(
                f"{self.name}:{self.text.count(chr(10), 0, found.start()) + 1}",
                found["language"],
                found["code"],
                found["directive"] or "",
            )
            for found in fence.finditer(self.text)
        ]
        self.prose = fence.sub("", self.text)
        self.spans = re.findall(r"`([^`\n]+)`", self.prose)

    def section(self, heading: str) -> str:
        """The text below a heading, up to the next one of the same level or above."""
        (level,) = re.findall(rf"^(#+) {re.escape(heading)}$", self.text, re.MULTILINE)
        after = self.text.split(f"\n{level} {heading}\n", 1)[1]
        return re.split(rf"^#{{1,{len(level)}}} ", after, maxsplit=1, flags=re.MULTILINE)[0]

    def anchors(self) -> set[str]:
        """What links can point at, as GitHub makes it of the headings."""
        headings = re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


PAGES = [
    Page(file)
    for file in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "examples/README.md"])
]
BY_NAME = {page.name: page for page in PAGES}
HANDLERS, INTERNALS = BY_NAME["docs/handlers.md"], BY_NAME["docs/internals.md"]


def rows(table: str) -> list[list[str]]:
    """The cells of a table's rows; the text may go on after the table."""
    lines = [line for line in table.splitlines() if line.startswith("|") or not line]
    start = next(i for i, line in enumerate(lines) if line.startswith("| ---"))
    found = []
    for line in lines[start + 1 :]:
        if not line:
            break
        found.append([cell.strip() for cell in line.strip("|").split(" |")])
    return found


def named(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def first_column(table: str) -> list[str]:
    return [name for row in rows(table) for name in named(row[0])]


def commands(program: str) -> Iterator[tuple[str, list[str]]]:
    """Where the docs call `program`, in a console or in `code`, and its arguments."""
    for page in PAGES:
        for span in page.spans:
            if span.split()[0] == program and " " in span:
                yield page.name, shlex.split(span)[1:]
        for block in page.blocks:
            if block.language == "console":
                for words in simple_commands(block.code):
                    if words[0] == program:
                        yield block.where, words[1:]


def simple_commands(console: str) -> Iterator[list[str]]:
    """The commands of the lines that begin with `$ `; without output, pipes and assignments."""
    for line in console.replace("\\\n", " ").splitlines():
        if not line.startswith("$ "):
            continue
        words: list[str] = []
        for word in [*shlex.split(line[2:]), "|"]:
            if word in ("|", "&&", ";"):
                yield words
                words = []
            elif words or not re.match(r"\w+=", word):
                words.append(word)


# --- what the docs name exists --------------------------------------------------------------------


def test_every_block_is_seen() -> None:
    for page in PAGES:
        assert page.text.count("```") == 2 * len(page.blocks), page.name
        directives = page.text.count("\n<!-- test:")
        assert directives == sum(bool(block.directive) for block in page.blocks), page.name


def test_every_relative_link_leads_somewhere() -> None:
    checked, wrong = 0, []
    for page in PAGES:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.prose):
            if link.startswith(("http://", "https://")):
                continue
            checked += 1
            path, _, anchor = link.partition("#")
            target = (page.file.parent / path).resolve() if path else page.file
            if not target.exists() or (anchor and anchor not in Page(target).anchors()):
                wrong.append(f"{page.name}: {link}")
    assert not wrong
    assert checked > 30


def test_every_command_and_flag_exists() -> None:
    called = list(commands("fulfillment-worker"))
    for where, args in called:
        try:
            check_call(args)
        except (click.ClickException, ValueError) as error:
            pytest.fail(f"{where}: fulfillment-worker {shlex.join(args)}: {error}")
    assert {args[0] for _, args in called} == set(COMMANDS)


def check_call(args: list[str]) -> None:
    name, *rest = args
    command = main.get_command(click.Context(main), name)
    if command is None:
        raise ValueError(f"there is no command {name!r}")
    given, _, _ = command.make_parser(click.Context(command)).parse_args(rest)
    for setting in given.keys() & SPECS.keys():
        SPECS[setting].parse(given[setting])


def test_every_flag_in_the_prose_exists() -> None:
    flags = {flag for name in COMMANDS for flag in options(name)} | {"--help", "--version"}
    told = {
        (span.split()[0], page.name)
        for page in PAGES
        for span in page.spans
        if span.startswith("--")
    }
    assert not {(flag, page) for flag, page in told if flag not in flags | FOREIGN_FLAGS}
    assert {flag for flag, _ in told} >= FOREIGN_FLAGS | {"--lease", "--json", "--orders"}


def options(name: str) -> list[str]:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    each = [command, *(command.commands.values() if isinstance(command, click.Group) else ())]
    return [flag for command in each for param in command.params for flag in param.opts]


def test_defaults_are_the_settings() -> None:
    by_flag = {spec.flag: spec for spec in SPECS.values()}
    forms = (r"`(--[a-z-]+)` \(([^)`]+)\)", r"`(--[a-z-]+)`, (\d[^,.;)]*)[,.;)]")
    told = [
        (flag, value, page.name)
        for page in PAGES
        for form in forms
        for flag, value in re.findall(form, page.prose)
        if flag in by_flag
    ]
    for flag, value, page in told:
        short = re.sub(r"^(\d+) (?:days|(\w+))$", lambda m: m[1] + (m[2] or "d"), value)
        assert by_flag[flag].parse(short) == by_flag[flag].default_value(), (flag, value, page)
    assert len(told) > 5


def test_every_variable_exists() -> None:
    known = set(VARIABLES)
    told = {
        (variable, page.name)
        for page in PAGES
        for variable in re.findall(r"\bFULFILLMENT_[A-Z]+(?:_[A-Z]+)*", page.text)
    }
    assert not {(variable, page) for variable, page in told if variable not in known}
    assert len({variable for variable, page in told if page != "docs/settings.md"}) > 3


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    told = {(word, where) for where, args in commands("make") for word in args if "=" not in word}
    assert not {(target, where) for target, where in told if target not in targets}
    assert {"demo", "test"} <= {target for target, _ in told}


def test_every_metric_exists() -> None:
    known = {spec.name for spec in CATALOGUE} | NO_METRICS | log_events()
    for spec in CATALOGUE:
        if spec.kind is MetricKind.HISTOGRAM:
            known |= {f"{spec.name}_{part}" for part in ("bucket", "count", "sum")}
    told = {
        (name, page.name)
        for page in PAGES
        for code in (*page.spans, *(block.code for block in page.blocks))
        for name in re.findall(r"\b(?:orders?|fulfillment|process|python)_[a-z_]+\b", raw(code))
    }
    assert not {(name, page) for name, page in told if name not in known}
    assert "orders_unaccounted" in {name for name, page in told if page == "README.md"}


def raw(code: str) -> str:
    """Without the names of recorded series: those that don't exist stay, and are found."""
    groups = rules(Target())["groups"]
    recorded = [rule["record"] for group in groups for rule in group["rules"]]
    return re.sub(rf"\b(?:{'|'.join(map(re.escape, recorded))})\b", "", code)


def log_events() -> set[str]:
    """What the event log and the supervisor may say, read from their source."""
    source = "".join(map(inspect.getsource, (event_log, fleet, release)))
    literal = set(re.findall(r'"([a-z]+(?:_[a-z]+)+)"', source))
    turned = re.findall(r'BreakerState\.\w+: "(\w+)"', source)
    return literal | {f"breaker_{how}" for how in turned}


def test_every_log_event_exists() -> None:
    prose = BY_NAME["docs/operations.md"].prose
    (sentence,) = re.findall(r"^In the log, the events .+$", prose, re.MULTILINE)
    told = [name for name in named(sentence) if "_" in name]
    assert set(told) <= log_events()
    assert len(told) > 5


def test_the_table_of_the_log_lists_every_event() -> None:
    text = BY_NAME["docs/operations.md"].text
    table = text.partition("<!-- events -->")[2].partition("\n\n")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    told = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert told >= {name for name in log_events() if name not in NO_EVENTS}
    logged = "".join(file.read_text() for file in PACKAGE.rglob("*.py"))
    assert {name for name in told - log_events() if f'"{name}"' not in logged} == set()


def test_every_file_exists() -> None:
    told = {
        (span, page)
        for page in PAGES
        for span in page.spans
        if re.fullmatch(r"[\w./-]*\w+/[\w./-]+\.(?:py|lua|md|toml|ya?ml|txt)|\w+\.lua", span)
        and not span.startswith("/")
    }
    for path, page in told:
        roots = (ROOT, PACKAGE, page.file.parent, PACKAGE / "queue" / "lua")
        assert any((root / path).exists() for root in roots), (path, page.name)
    assert len(told) > 20


def test_every_test_exists() -> None:
    defined = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE)
    }
    told = {span for page in PAGES for span in page.spans if re.fullmatch(r"test_\w+", span)}
    assert not told - defined
    assert len(told) > 20


# --- the internals --------------------------------------------------------------------------------


def test_the_packages_are_those_of_the_code() -> None:
    rooms = INTERNALS.section("The rooms")
    packages = {file.parent.name for file in PACKAGE.glob("*/__init__.py")}
    assert {row[0].strip("` ") for row in rows(rooms)} == packages
    (drawn,) = re.findall(r"^cli → .+$", rooms, re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    assert drawn == " → ".join(layers).replace("fulfillment_worker.", "")


def test_the_keys_are_those_of_the_code() -> None:
    example = {"queue": "orders", "order_id": "<id>", "worker": "<worker>"}
    names = [
        function(**{name: example[name] for name in inspect.signature(function).parameters})
        for function in vars(keys).values()
        if inspect.isfunction(function) and not function.__name__.endswith("_prefix")
    ]
    assert sorted(first_column(INTERNALS.section("The keys"))) == sorted(names)


@pytest.mark.parametrize("hash_", ["**status hash**", "**books**"])
def test_the_fields_of_hashes_are_known_to_the_scripts(hash_: str) -> None:
    _, found, table = INTERNALS.text.partition(hash_)
    fields = [name.removesuffix("<worker>") for name in first_column(table)]
    assert found
    assert len(fields) > 5
    quoted = set(re.findall(r"'([a-z_:]+)'", "\n".join(LUA.values())))
    assert not set(fields) - quoted


def test_each_transition_is_a_function_of_the_scripts() -> None:
    transitions = rows(INTERNALS.section("The way of one order").partition("| transition")[2])
    for _, _, functions, files in transitions:
        (file,) = named(files)
        for function in named(functions):
            assert f"function {function}(" in LUA[file], (function, file)
    arrows = re.findall(r"in_flight --> \w+: (.+)", INTERNALS.text)
    drawn = {name for label in arrows for name in label.split(", ")}
    names = [re.sub(r" \(.+\)", "", row[0]) for row in transitions]
    listed = {name for each in names for name in each.split(", ")}
    others = {"claimed first", "claimed again", "duplicate", "brought back", "parked", "called"}
    assert drawn | others == listed


def test_the_verdicts_are_those_of_the_code() -> None:
    table = INTERNALS.section("Begin")
    assert set(first_column(table)) == set(Verdict.__members__)


@pytest.mark.parametrize(
    ("struct", "page"), [(Exchange, INTERNALS), (Reply, INTERNALS), (Order, HANDLERS)]
)
def test_the_fields_of_records_are_those_of_the_code(struct: Any, page: Page) -> None:
    _, found, table = page.text.partition(f"<!-- fields: {struct.__name__} -->")
    assert found
    properties = {name for name, value in vars(struct).items() if isinstance(value, property)}
    assert set(first_column(table)) == set(struct.__struct_fields__) | properties


# --- the examples run -----------------------------------------------------------------------------

PYTHON = [block for page in PAGES for block in page.blocks if block.language == "python"]
RUNNABLE = [
    pytest.param(page, block, id=block.where)
    for page in PAGES
    for block in page.blocks
    if block.directive
]
Load = Callable[[Block], LoadedHandler]


@pytest.mark.parametrize("block", PYTHON, ids=[block.where for block in PYTHON])
def test_python_compiles(block: Block) -> None:
    compile(block.code, block.where, "exec")


def test_json_on_the_list_is_an_order() -> None:
    found = [
        (page.name, raw)
        for page in PAGES
        for raw in re.findall(r"(?:LPUSH \w+|echo) '(\{[^']*\})'", page.text)
    ]
    for where, raw in found:
        told = decode(raw.encode(), id_field="order_id", max_bytes=1024)
        assert isinstance(told, Decoded), (where, raw, told)
        assert "enqueued_at" not in told.body or told.enqueued_unix, (where, raw)
    assert len(found) > 2


@pytest.fixture
def load_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Saves a block as the module that its directive names, and loads it as a worker would."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    names = []

    def load_it(block: Block) -> LoadedHandler:
        name = block.directive.removeprefix("handler ")
        names.append(name)
        Path(f"{name}.py").write_text(block.code, encoding="utf-8")
        return load(f"{name}:fulfil", order_timeout=120)

    yield load_it
    for name in names:
        sys.modules.pop(name, None)


def make_order(**body: object) -> Order:
    body = {"order_id": "A-1001", **body}
    raw = json.dumps(body).encode()
    return Order(id="A-1001", attempt=1, body=body, raw=raw, queue="orders")


@pytest.mark.parametrize(("page", "block"), RUNNABLE)
async def test_examples_run(page: Page, block: Block, load_block: Load) -> None:
    if block.directive.startswith("handler "):
        handler = load_block(block)
        result = await handler(make_order(items=["MUG-BLUE"]), OneAttempt())
        assert result is SUCCEEDED
        await handler.close()
        return
    assert block.directive == "run"
    for other in page.blocks:
        if other.directive.startswith("handler "):
            load_block(other)
    namespace: dict[str, Any] = {"__name__": "example"}
    exec(compile(block.code, block.where, "exec"), namespace)
    tests = [value for name, value in namespace.items() if name.startswith("test_")]
    assert tests
    for test in tests:
        test()


async def test_the_handler_of_the_readme_does_what_it_says(
    load_block: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = [block for block in BY_NAME["README.md"].blocks if block.directive]
    fulfil = load_block(block)

    async def result_of(order: Order) -> Result:
        return await fulfil(order, OneAttempt())

    rejected = await result_of(make_order())
    assert isinstance(rejected, Rejected)
    assert rejected.error == "there is nothing to ship"
    closed = await result_of(make_order(items=["MUG-BLUE"], depot="closed"))
    assert closed == Deferred("the depot is closed", 1800.0)
    assert await result_of(make_order(items=["MUG-BLUE"])) is SUCCEEDED
    assert "orders:A-1001" in capsys.readouterr().out
    code = [line for line in block.code.splitlines() if line]
    assert len(code) <= 10
