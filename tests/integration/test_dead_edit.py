"""Dead letters are corrected by the command line, and nothing that was written is lost."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.test_erase import is_anywhere
from tests.integration.test_operator import REJECT_UNMENDED, bury
from tests.support.eventually import eventually
from tests.support.orders import books, dead_letters, place, place_by_hand
from tests.support.process import run_cli
from tests.support.redis_server import RedisServer, wait_for_status
from tests.support.worker import RunningWorker

Start = Callable[..., RunningWorker]
Done = subprocess.CompletedProcess[str]

REPLACE = "s = s.replace('odd', 'even')"


class Desk:
    """An operator with an editor: a script of Python that changes the text `s` of the file."""

    def __init__(self, server: RedisServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.drafts = folder / "drafts"
        self.drafts.mkdir()

    def editor(self, change: str, code: int = 0) -> str:
        script = self.folder / "editor"
        script.write_text(
            f"#!{sys.executable}\nimport pathlib, subprocess, sys\n"
            f"path = pathlib.Path(sys.argv[-1])\ns = path.read_text()\n{change}\n"
            f"path.write_text(s)\nsys.exit({code})\n"
        )
        script.chmod(0o700)
        return str(script)

    def edit(self, *args: str, stdin: str = "", **env: str) -> Done:
        where = {"TMPDIR": str(self.drafts), "EDITOR": "", "VISUAL": "", **env}
        options = ("--redis-url", self.server.url)
        return run_cli("dead", "edit", *args, *options, stdin=stdin, env=where)

    def kept(self, said: str) -> str:
        """The text in the file that a message names."""
        found = re.search(r"the edited text is kept in (\S+), ", said)
        assert found, said
        path = Path(found[1])
        assert path.stat().st_mode & 0o077 == 0
        return path.read_text()

    def audit(self) -> list[dict[str, object]]:
        done = run_cli("audit", "--json", "--redis-url", self.server.url)
        told: list[dict[str, object]] = json.loads(done.stdout)
        return told


@pytest.fixture
def desk(redis_server: RedisServer, tmp_path: Path) -> Desk:
    return Desk(redis_server, tmp_path)


def test_edit_in_the_editor_replaces_the_bytes_and_keeps_the_old_ones(desk: Desk) -> None:
    place_by_hand(desk.server, [])
    bury(desk.server, [{"order_id": "A", "sku": "odd", "price": 1.5}])
    (was,) = dead_letters(desk.server)
    editor = desk.editor(REPLACE + "\nassert '\\n  \"sku\"' in open(path).read()")
    args = ("--by", "ops@desk-3", "--why", "typing error")
    done = desk.edit("A", *args, stdin="y\n", VISUAL=editor, EDITOR="/nowhere/editor")
    assert done.returncode == 0, done
    assert '-  "sku": "odd",' in done.stdout
    assert '+  "sku": "even",' in done.stdout
    assert "Replace the bytes of letter 1 of A?" in done.stderr
    assert "fulfillment-worker dead retry letter:1" in done.stdout
    (letter,) = dead_letters(desk.server)
    assert letter.raw == was.raw.replace(b"odd", b"even"), "white space is as before"
    edited = letter.header.pop("edited")
    assert letter.header == was.header
    assert edited > was.header["at"]
    assert list(desk.drafts.iterdir()) == []

    (act,) = desk.audit()
    assert act.pop("at") == edited
    assert act == {
        "queue": "orders",
        "by": "ops@desk-3",
        "act": "edit",
        "order_id": "A",
        "why": "typing error",
        "before": was.raw.decode(),
    }
    with desk.server.client() as client:
        assert 6 * 86_400 < client.ttl("{orders}:edited:A") <= 7 * 86_400
    shown = run_cli("dead", "show", "A", "--redis-url", desk.server.url).stdout
    assert "  edited        20" in shown


def test_edited_order_is_handled_with_its_new_bytes(
    redis_server: RedisServer, run_worker: Start, tmp_path: Path
) -> None:
    desk = Desk(redis_server, tmp_path)
    run_worker(redis_server.url, REJECT_UNMENDED)
    place(redis_server, [{"order_id": "A"}])
    wait_for_status(redis_server, "A", "dead")
    done = desk.edit("A", "--set", "mended=true", "--yes", "--json")
    told = json.loads(done.stdout)
    assert (told["edited"], told["order_id"], told["dry_run"]) == (1, "A", False)
    assert '+  "mended": true' in told["difference"]
    assert run_cli("dead", "retry", "A", "--redis-url", redis_server.url).returncode == 0
    wait_for_status(redis_server, "A", "fulfilled")
    assert books(redis_server).unaccounted == 0


def test_edit_that_can_not_be_used_is_kept_in_a_file(desk: Desk) -> None:
    bury(desk.server, [{"order_id": "A", "sku": "odd"}])
    (was,) = dead_letters(desk.server)
    cases = {
        "s = s.replace('}', '')": "it is no order: not JSON",
        "s = s.replace('\"A\"', '\"B\"')": "its order_id is 'B', and the letter's is 'A'",
        "s = '[]'": "it is no order: ",
    }
    for change, why in cases.items():
        done = desk.edit("A", "--yes", EDITOR=desk.editor(change))
        assert (done.returncode, why in done.stderr) == (1, True), done
        assert desk.kept(done.stderr) != was.raw.decode()
    no = desk.edit("A", stdin="n\n", EDITOR=desk.editor(REPLACE))
    assert (no.returncode, "the answer was no" in no.stderr) == (1, True)
    nobody = desk.edit("A", EDITOR=desk.editor(REPLACE))
    assert (nobody.returncode, "nobody answered: give --yes" in nobody.stderr) == (1, True)
    assert '"even"' in desk.kept(nobody.stderr)
    failed = desk.edit("A", "--yes", EDITOR=desk.editor(REPLACE, code=3))
    assert "ended with exit code 3; nothing was replaced" in failed.stderr
    assert '"even"' in desk.kept(failed.stderr)
    assert dead_letters(desk.server) == [was]
    assert desk.audit() == []


def test_edit_without_a_change_or_an_editor_says_so(desk: Desk) -> None:
    for each in ({"order_id": "A", "sku": "odd"}, {"order_id": "B"}, {"order_id": "B"}):
        bury(desk.server, [each])
    was = dead_letters(desk.server)
    cases = [
        (desk.edit("A"), 1, "there is no editor, since EDITOR is not set"),
        (desk.edit("A", EDITOR="/nowhere/editor"), 1, "can't be started: No such file"),
        (desk.edit("A", EDITOR=desk.editor("")), 1, "nothing was changed in letter 1 of A"),
        (desk.edit("A", EDITOR=desk.editor("", code=1)), 1, "exit code 1; nothing was replaced"),
        (desk.edit("A", "--set", 'sku="odd"'), 1, "nothing was changed"),
        (desk.edit("A", "--set", "sku=odd"), 2, "is no JSON; a text is given in quotes"),
        (desk.edit("A", "--set", "sku.x=1"), 2, "the field 'sku' is no JSON object"),
        (desk.edit("A", "--file", "-"), 2, "give --yes"),
        (desk.edit("B", "--set", "a=1"), 2, "is 2 dead letters"),
        (desk.edit("C", "--set", "a=1"), 1, "is no dead letter"),
    ]
    for done, code, why in cases:
        assert (done.returncode, why in done.stderr) == (code, True), done
    assert dead_letters(desk.server) == was
    assert list(desk.drafts.iterdir()) == []


def test_edit_replaces_only_the_letter_that_was_read(desk: Desk) -> None:
    bury(desk.server, [{"order_id": "A", "sku": "odd"}, {"order_id": "B", "sku": "odd"}])
    meanwhile = "subprocess.check_call([sys.executable, '-m', 'fulfillment_worker', 'dead', {}])"
    url = f"'--redis-url', '{desk.server.url}'"
    edit = meanwhile.format(f"'edit', 'A', '--set', 'sku=1', '--yes', {url}")
    done = desk.edit("A", "--yes", EDITOR=desk.editor(f"{REPLACE}\n{edit}"))
    assert (done.returncode, "somebody else edited letter 1 of A" in done.stderr) == (1, True), done
    assert '"even"' in desk.kept(done.stderr)
    drop = meanwhile.format(f"'drop', 'B', {url}")
    done = desk.edit("B", "--yes", EDITOR=desk.editor(f"{REPLACE}\n{drop}"))
    assert (done.returncode, "was retried, dropped or erased" in done.stderr) == (1, True), done
    (letter,) = dead_letters(desk.server)
    assert letter.raw == b'{"order_id": "A", "sku": 1}'
    assert len(desk.audit()) == 2, "of the edit meanwhile, and of the drop"


def test_edit_mends_what_was_no_order_and_gives_it_an_id(
    redis_7: RedisServer, run_worker: Start, tmp_path: Path
) -> None:
    desk = Desk(redis_7, tmp_path)
    run_worker(redis_7.url, REJECT_UNMENDED)
    place_by_hand(redis_7, [b'{"order_id": "A", "mended": true,}', b"\xff"])
    eventually(lambda: len(dead_letters(redis_7)) == 2, what="both are dead")
    numbers = {letter.raw: n for n, letter in enumerate(dead_letters(redis_7), 1)}
    number = numbers[b'{"order_id": "A", "mended": true,}']
    done = desk.edit(f"letter:{number}", "--yes", EDITOR=desk.editor("s = s.replace(',}', '}')"))
    assert done.returncode == 0, done
    good = '{"order_id": "B", "mended": true}\n'
    rest = desk.edit(f"letter:{3 - number}", "--file", "-", "--yes", stdin=good)
    assert rest.returncode == 0, rest
    assert {letter.header["order_id"] for letter in dead_letters(redis_7)} == {"A", "B"}
    assert [each.get("before_base64") for each in desk.audit()][-1] == "/w=="
    assert run_cli("dead", "retry", "A", "B", "--redis-url", redis_7.url).returncode == 0
    wait_for_status(redis_7, "A", "fulfilled")
    wait_for_status(redis_7, "B", "fulfilled")
    assert books(redis_7).unaccounted == 0


def test_edit_is_erased_with_the_bytes_of_before(desk: Desk) -> None:
    bury(desk.server, [{"order_id": "A", "name": "Jane Doe"}])
    desk.edit("A", "--set", 'name="X. Y."', "--yes", "--why", "Jane Doe asked for it")
    assert is_anywhere(desk.server, b"Jane Doe")
    erase = ("erase", "A", "--redis-url", desk.server.url)
    assert ", 1 edit" in run_cli(*erase, "--dry-run").stdout
    assert run_cli(*erase).returncode == 0
    assert not is_anywhere(desk.server, b"Jane Doe", b"X. Y.", b":A")
