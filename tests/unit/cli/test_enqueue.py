"""Enqueueing: all or nothing, the very bytes, the first one first."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from fulfillment_worker.admin.sample_orders import sample_orders
from fulfillment_worker.cli.enqueue import enqueue
from fulfillment_worker.cli.intake import InputEntry, entries, rereadable
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake_redis import FakeRedis


def in_claim_order(fake: FakeRedis, queue: str = "orders") -> list[bytes]:
    return fake.lists.get(queue, [])[::-1]


def read(text: bytes, max_bytes: int = 100) -> list[InputEntry]:
    return list(entries(io.BytesIO(text), max_bytes))


def test_lines_are_pushed_as_written_and_the_first_is_claimed_first(
    cli: Run, fake: FakeRedis
) -> None:
    lines = [b'{"order_id": "A"}', b' {"order_id" :7, "x": 1.50} ', '{"order_id":"é"}'.encode()]
    result = cli("enqueue", input=b"\n".join(lines))
    assert (result.exit_code, result.stdout) == (0, "enqueued 3 orders on orders\n")
    assert in_claim_order(fake) == lines


def test_the_first_queue_gets_them(cli: Run, fake: FakeRedis) -> None:
    result = cli("enqueue", "-", "--queue", "express,orders", "--json", input=b'{"order_id":1}')
    assert json.loads(result.stdout) == {"enqueued": 1, "skipped": 0, "queue": "express"}
    assert list(fake.lists) == ["express"]


def test_a_file_is_read(cli: Run, fake: FakeRedis, tmp_path: Path) -> None:
    path = tmp_path / "orders.jsonl"
    path.write_bytes(b'{"order_id":1}\r\n\r\n{"order_id":2}\r\n')
    assert cli("enqueue", str(path)).exit_code == 0
    assert in_claim_order(fake) == [b'{"order_id":1}', b'{"order_id":2}']


def test_a_file_that_is_not_there_is_wrong_usage(cli: Run, fake: FakeRedis) -> None:
    result = cli("enqueue", "/nowhere/orders.jsonl")
    assert result.exit_code == 2
    assert "No such file" in result.stderr


def test_nothing_is_enqueued_unless_all_are_good(cli: Run, fake: FakeRedis) -> None:
    result = cli("enqueue", input=b'{"order_id":1}\n\n{}\n\xff\n[1]\n' + b'{"order_id":2}\n')
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "fulfillment-worker: line 3: no id: the field 'order_id' is missing",
        "fulfillment-worker: line 4: not UTF-8 (byte 0)",
        "fulfillment-worker: line 5: not a JSON object but an array",
        "fulfillment-worker: nothing was enqueued: correct them, or leave them out with "
        "--skip-invalid",
    ]
    assert fake.lists == {}


def test_invalid_ones_are_skipped_on_demand(cli: Run, fake: FakeRedis) -> None:
    result = cli("enqueue", "--skip-invalid", "--json", input=b'{"order_id":1}\nx\n{"order_id":2}')
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"enqueued": 2, "skipped": 1, "queue": "orders"}
    assert "skipped line 2: not JSON" in result.stderr
    assert in_claim_order(fake) == [b'{"order_id":1}', b'{"order_id":2}']


def test_only_the_first_faults_are_listed(cli: Run, fake: FakeRedis) -> None:
    lines = cli("enqueue", input=b'{"order_id":1}\n' + b"{}\n" * 1000).stderr.splitlines()
    assert len(lines) == 22
    assert lines[20] == "fulfillment-worker: and 980 more"


def test_the_workers_own_rules_hold(cli: Run, fake: FakeRedis) -> None:
    options = ("enqueue", "--id-field", "nr", "--max-order-bytes", "20")
    assert cli(*options, input=b'{"nr":1}\n').exit_code == 0
    result = cli(*options, input=b'{"nr":1}\n{"nr":1,"note":"too long"}\n{"order_id":1}')
    assert "line 2: too large: 26 bytes, at most 20 are allowed" in result.stderr
    assert "line 3: no id: the field 'nr' is missing" in result.stderr


@pytest.mark.parametrize("size", [99, 100, 101, 102, 103, 250])
def test_a_long_line_is_judged_by_its_whole_length(size: int) -> None:
    line = b'{"order_id":"%s"}' % (b"x" * (size - 15))
    first, last = read(b'{"order_id":1}\n' + line + b"\n"), read(b'{"order_id":1}\n' + line)
    assert first == last
    assert len(first[1].raw) + first[1].excess == size
    assert first[1].where == "line 2"


def test_lines_after_a_long_one_keep_their_numbers() -> None:
    found = read(b'{"order_id":1}\n' + b"x" * 1000 + b'\n{"order_id":2}')
    assert [entry.where for entry in found] == ["line 1", "line 2", "line 3"]


def test_a_pretty_printed_object_is_one_order(cli: Run, fake: FakeRedis) -> None:
    text = json.dumps({"order_id": "A", "items": [{"sku": 1}]}, indent=2).encode()
    assert cli("enqueue", input=b"\n" + text + b"\n").exit_code == 0
    assert in_claim_order(fake) == [text]


def test_an_array_is_its_items(cli: Run, fake: FakeRedis) -> None:
    result = cli("enqueue", input=b'[\n {"order_id": 1.0e0, "order_id": 12},\n {"order_id":2}]\n')
    assert result.exit_code == 0
    assert in_claim_order(fake) == [b'{"order_id": 1.0e0, "order_id": 12}', b'{"order_id":2}']


def test_faults_of_an_array_have_item_numbers(cli: Run, fake: FakeRedis) -> None:
    result = cli("enqueue", input=b'[{"order_id": 1}, {}, 3]')
    assert "item 2: no id" in result.stderr
    assert "item 3: not a JSON object but a number" in result.stderr
    assert fake.lists == {}


def test_a_broken_array_is_one_fault(cli: Run, fake: FakeRedis) -> None:
    result = cli("enqueue", input=b'[\n{"order_id": 1},\n{"order_id" 2}]')
    assert result.stderr.startswith("fulfillment-worker: the array: not JSON: expected ':'")
    assert len(result.stderr.splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "wheres"),
    [
        (b"", []),
        (b"\n \r\n", []),
        (b"[]", []),
        (b'{"order_id":1}', ["line 1"]),
        (b'\n{"order_id":1}\n\n{}', ["line 2", "line 4"]),
        (b'[1]\n{"order_id":1}', ["line 1", "line 2"]),
        (b'{"order_id":\n{"order_id":1}', ["line 1", "line 2"]),
        (b"\xef\xbb\xbf[{},{}]", ["item 1", "item 2"]),
        (b"\xef\xbb\xbf{}\n{}", ["line 1", "line 2"]),
        (b"[" * 100_000, ["the array"]),
        (b"{" * 100_000, ["line 1"]),
    ],
)
def test_the_form_is_told_by_the_looks(text: bytes, wheres: list[str]) -> None:
    assert [entry.where for entry in read(text)] == wheres


def test_input_can_be_gone_through_twice_even_from_a_pipe() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    with rereadable(Pipe(b'{"order_id":1}\n{"order_id":2}')) as source:
        assert list(entries(source, 100)) == list(entries(source, 100))
        assert len(list(entries(source, 100))) == 2


def test_input_is_read_from_where_it_stands() -> None:
    source = io.BytesIO(b'rubbish\n{"order_id":1}')
    start = len(source.readline())
    for _ in range(2):
        assert [entry.raw for entry in entries(source, 100, start)] == [b'{"order_id":1}']


def test_orders_go_in_batches(cli: Run, fake: FakeRedis) -> None:
    cli("enqueue", input=b"".join(b'{"order_id":%d}\n' % number for number in range(2500)))
    assert fake.pushes == [1000, 1000, 500]
    assert in_claim_order(fake)[0] == b'{"order_id":0}'
    assert in_claim_order(fake)[-1] == b'{"order_id":2499}'


def test_a_batch_is_bounded_in_bytes(cli: Run, fake: FakeRedis) -> None:
    order = b'{"order_id":1,"x":"%s"}\n' % (b"x" * 400_000)
    cli("enqueue", input=order * 5)
    assert fake.pushes == [2, 2, 1]


def test_a_death_of_redis_midway_tells_how_many_are_certain(cli: Run, fake: FakeRedis) -> None:
    fake.fail_after = 2
    result = cli("enqueue", input=b"".join(b'{"order_id":%d}\n' % number for number in range(2500)))
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "Redis at redis://127.0.0.1:6379/0 can't be reached" in line
    assert "2000 of 2500 orders were certainly enqueued" in line
    assert "enqueue all of them again" in line


def test_a_redis_that_is_not_there_gets_nothing(cli: Run) -> None:
    result = cli("enqueue", "--redis-url", "unix:///nowhere/redis.sock", input=b'{"order_id":1}')
    assert result.exit_code == 1
    assert "unix:///nowhere/redis.sock" in result.stderr
    assert result.stderr.endswith("; nothing was enqueued\n")


def test_an_interruption_tells_how_many_are_certain(
    cli: Run, fake: FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(fake, "lpush", interrupted)
    result = cli("enqueue", input=b'{"order_id":1}')
    assert result.exit_code == 1
    assert "0 of 1 orders were certainly enqueued" in result.stderr


def test_samples_are_orders_with_ids_times_and_items(cli: Run, fake: FakeRedis) -> None:
    result = cli("enqueue", "--sample", "3", "--id-field", "nr")
    assert result.stdout == "enqueued 3 orders on orders\n"
    orders = [json.loads(raw) for raw in in_claim_order(fake)]
    assert len({order["nr"] for order in orders}) == 3
    assert all(order["items"] and order["enqueued_at"] for order in orders)


def test_a_seed_gives_the_same_samples() -> None:
    def drawn(seed: int) -> list[object]:
        orders = map(json.loads, sample_orders(5, seed, "order_id"))
        return [{**order, "enqueued_at": None} for order in orders]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_a_file_and_samples_exclude_each_other(cli: Run, fake: FakeRedis) -> None:
    result = cli("enqueue", "-", "--sample", "3")
    assert result.exit_code == 2
    assert "give one of them" in result.stderr


def test_the_command_is_what_the_group_loads() -> None:
    assert enqueue.name == "enqueue"
