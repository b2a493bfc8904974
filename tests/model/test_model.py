"""The model against the real queue, and bugs planted in the queue against the model."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

from fulfillment_worker.queue import library
from tests.model.machine import IDS, WORKERS, QueueMachine, ScriptFailed
from tests.support.redis_server import VERSIONS, RedisServer

_CHECKS = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
THOROUGH = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=_CHECKS,
    phases=[Phase.generate, Phase.explicit],
    report_multiple_bugs=False,
)
# A mutant needs not be shrunk: it is enough that it is caught.
HUNT = settings(
    THOROUGH,
    max_examples=400,
    phases=[Phase.generate],
    derandomize=True,
    database=None,
    print_blob=False,
)


def machine_on(server: RedisServer) -> type[QueueMachine]:
    class Machine(QueueMachine):
        client = server.client()
        url = server.url

    return Machine


@pytest.mark.parametrize("version", VERSIONS)
def test_the_invariants_hold_whatever_happens(
    redis_servers: Callable[[str], RedisServer], version: str
) -> None:
    machine = machine_on(redis_servers(version))
    run_state_machine_as_test(machine, settings=THOROUGH)
    machine.client.close()


# A crash between two steps that ought to be one: the script ends, and nothing is rolled back.
CRASH = "if redis.call('INCR', '{orders}:crashes') % 2 == 0 then error('crashed') end\n"

MUTANTS: dict[str, list[tuple[str, str]]] = {
    "an ack before its status": [
        (
            "    call('HSET', key, 'status', 'fulfilled', 'finished_at', now)\n",
            f"    call('HDEL', IN_FLIGHT, fulfilled[i])\n{CRASH}"
            "    call('HSET', key, 'status', 'fulfilled', 'finished_at', now)\n",
        )
    ],
    "an ack that ignores the lease": [
        ("  if lease and tonumber(lease) < NOW then return {LEASE_LOST, NOW} end\n", ""),
        ("if book(6) >= REAPED then return {LEASE_LOST, NOW} end\n", ""),
        ("if book(6) ~= exchange.number - 1 then return {STALE, NOW} end\n", ""),
        (
            "if exchange.holding > 0 and call('HLEN', IN_FLIGHT) ~= exchange.holding then",
            "if false then",
        ),
    ],
    "a reaper without a fence": [
        (
            "if may_judge and leases[i] ~= WORKER and tonumber(leases[i + 1]) < NOW then",
            "if leases[i] ~= WORKER then",
        )
    ],
    "an orphan removed, and then put back": [
        (
            "    local became = put_back(orphan.entry, worker, orphan.delivery, together <= 1)\n",
            "    call('HDEL', policy.in_flight_prefix .. worker, orphan.delivery)\n"
            f"    {CRASH}"
            "    local became = put_back(orphan.entry, worker, orphan.delivery, together <= 1)\n",
        )
    ],
    "a retry popped, and then pushed": [
        (
            "    store()\n    if #gone > 0 then call('ZREM', RETRY, unpack(gone)) end\n",
            "    if #gone > 0 then\n      call('ZREM', RETRY, unpack(gone))\n"
            f"      if #unstored > 0 then {CRASH} end\n    end\n    store()\n",
        )
    ],
    "a retry claimed, and not removed": [
        ("    if #gone > 0 then call('ZREM', RETRY, unpack(gone)) end\n", "")
    ],
    "a begin that doesn't look for another copy": [
        (
            "if held_elsewhere(delivery, holding[1], holding[2]) then",
            "if false then",
        )
    ],
    "a begin that handles the fulfilled again": [
        ("  if FINAL[status] then\n", "  if false then\n")
    ],
    "claims that are not booked": [("    booked.received = booked.received + taken\n", "")],
    "an orphan that is not counted": [("  entry.orphanings = entry.orphanings + 1\n", "")],
    "an exchange number that isn't checked": [
        ("if book(6) ~= exchange.number - 1 then return {STALE, NOW} end\n", "")
    ],
    "an exchange number that isn't kept": [
        (
            "call('HSET', BOOKS, 'trips:' .. WORKER, whole(exchange.number), 'clock', ",
            "call('HSET', BOOKS, (exchange.claim > 0 and '' or 'no ') .. 'trips:' .. WORKER, "
            "exchange.number, 'clock', ",
        )
    ],
    "an order given back that is left as begun": [
        (
            "  if order_id == '' then order_id = begun_unheard(entry.raw, whole(delivery)) end\n",
            "",
        )
    ],
    "a claim that begins whatever it is": [("  if call('HLEN', key) > 0 then return '' end\n", "")],
    "a claim that begins an order under the delivery of another": [
        (
            "    local delivery = whole(first_delivery + i - 1)\n",
            "    local delivery = whole(first_delivery)\n",
        )
    ],
}


def plant(monkeypatch: pytest.MonkeyPatch, *edits: tuple[str, str]) -> None:
    """Change the library that is loaded from here on."""

    def edited(text: str) -> str:
        for was, becomes in edits:
            assert text.count(was) == 1, f"the code has changed: plant the bug anew ({was!r})"
            text = text.replace(was, becomes)
        return text

    monkeypatch.setattr(library, "LIBRARY", library.assemble(edited))


def plant_in(monkeypatch: pytest.MonkeyPatch, part: str, was: str, becomes: str) -> None:
    """The same, where the text stands in other parts, too."""
    text = library.read(part)
    assert text.count(was) == 1, f"the code has changed: plant the bug anew ({was!r})"
    plant(monkeypatch, (text, text.replace(was, becomes)))


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_bug_is_caught(
    redis_servers: Callable[[str], RedisServer], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    plant(monkeypatch, *MUTANTS[name])
    machine = machine_on(redis_servers("redis-7"))
    hunt(RARE[name](machine) if name in RARE else machine)


def retrying(machine: type[QueueMachine]) -> type[QueueMachine]:
    class Retrying(machine):  # type: ignore[misc,valid-type]
        @rule(name=st.sampled_from(WORKERS), many=st.integers(1, 3))
        def orders_fail_and_come_due(self, name: str, many: int) -> None:
            self.work_off(name, "retried")
            self.retries_come_due()
            self.claim(name, many)

    return Retrying


# What makes more frequent what a bug needs.
RARE = {
    "a retry popped, and then pushed": retrying,
}


# A part of the library in which a bug is planted that only what else a worker says can show.
OTHER_MUTANTS: dict[str, tuple[str, str, str]] = {
    "a question that is no exchange": (
        "holdings",
        "  call('HSET', BOOKS, 'trips:' .. WORKER, ARGV[6])\n",
        "",
    ),
    "a question that comes late": (
        "holdings",
        "  if book(1) >= number then return {2, NOW} end\n",
        "",
    ),
    "a greeting that is skipped": ("greet", "if not life then return 0 end\n", "do return 0 end\n"),
    "a life that is not kept": ("greet", "call('HSET', BOOKS, 'life', life)\n", ""),
    "a greeting that gives no time": ("greet", "whole(NOW + lease_of(worker))", "whole(NOW - 1)"),
    "an exchange that stands by, and isn't stale": (
        "stand_by",
        "  if made ~= ARGV[3] - 1 then return {STALE, NOW} end\n",
        "",
    ),
    "an exchange that stands by, and has no lease": (
        "stand_by",
        "    store()\n",
        "    call('HSET', IN_FLIGHT, unpack(unstored))\n",
    ),
    "an exchange that stands by, and isn't booked": (
        "stand_by",
        ", 'received', whole(received + 1))",
        ")",
    ),
    "an exchange that stands by, and takes a copy": ("stand_by", "    call('RPOP', WOKEN)\n", ""),
    "an exchange that stands by, and removes what it hasn't stored": (
        "stand_by",
        "    store()\n",
        f"    call('RPOP', WOKEN)\n    {CRASH}    call('RPUSH', WOKEN, raw)\n    store()\n",
    ),
    "an exchange that stands by at a paused queue": ("stand_by", "paused and {} or call(", "call("),
    "a greeting in each life": ("greet", "if known == life then return 0 end\n", ""),
}


@pytest.mark.parametrize("name", OTHER_MUTANTS)
def test_a_bug_planted_in_what_else_is_said_is_caught(
    redis_servers: Callable[[str], RedisServer], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    part, *edit = OTHER_MUTANTS[name]
    plant_in(monkeypatch, part, *edit)
    machine = machine_on(redis_servers("redis-7"))
    hunt(standing_by(machine) if part == "stand_by" else machine)


def standing_by(machine: type[QueueMachine]) -> type[QueueMachine]:
    class StandingBy(machine):  # type: ignore[misc,valid-type]
        """Exchanges that stand by are rare otherwise."""

        @rule(name=st.sampled_from(WORKERS), order_id=st.sampled_from(IDS))
        def order_comes_to_an_exchange_that_stands_by(self, name: str, order_id: str) -> None:
            self.push(order_id)
            self.order_finds_an_exchange_that_stands_by(name, False)

    return StandingBy


# A part of the library that operators use, and a bug for it.
OPERATORS_MUTANTS: dict[str, tuple[str, str, str]] = {
    "a letter retried, and not removed": (
        "dead_letters",
        "  call('HDEL', DEAD, number)\n",
        "",
    ),
    "a letter removed, and then retried": (
        "dead_letters",
        "  call('ZADD', RETRY, due_at(NOW), pack_entry(entry))\n",
        # It ends there each time: letters are too rare here for every second time.
        "  call('HDEL', DEAD, number)\n  error('crashed')\n"
        "  call('ZADD', RETRY, due_at(NOW), pack_entry(entry))\n",
    ),
    "a retry that forgives nothing": (
        "dead_letters",
        "failures = 0, orphanings = 0",
        "failures = letter.failures, orphanings = letter.orphanings",
    ),
    "letters dropped, and not booked": (
        "dead_letters",
        "if #dropped > 0 then call('HINCRBY', BOOKS, 'dropped', #dropped) end\n",
        "",
    ),
}


@pytest.mark.parametrize("name", OPERATORS_MUTANTS)
def test_a_bug_planted_in_an_operators_function_is_caught(
    redis_servers: Callable[[str], RedisServer], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    plant_in(monkeypatch, *OPERATORS_MUTANTS[name])

    class WithLetters(machine_on(redis_servers("redis-7"))):  # type: ignore[misc]
        """Letters are rare otherwise."""

        @initialize()
        def bury_two(self) -> None:
            for order_id in IDS:
                self.push(order_id)
            self.work_off("w0", "dead")

    hunt(WithLetters)


# A part of the library that holds and cancels orders, and a bug for it.
HOLDING_MUTANTS: dict[str, tuple[str, str, str]] = {
    "a held order released, and not removed": (
        "hold",
        "    many = many + call('HDEL', policy.held, copy)\n",
        "    many = many + 1\n",
    ),
    "a held order removed, and then released": (
        "hold",
        "      use(packed)\n",
        "      call('HDEL', policy.held, copy)\n      error('crashed')\n      use(packed)\n",
    ),
    "a copy of a held order that is forgotten": (
        "wishes",
        "was[2] and was[2] .. ' ' .. copy or copy",
        "copy",
    ),
    "a cancellation that isn't booked": (
        "wishes",
        "  booked.cancelled = (booked.cancelled or 0) + many\n",
        "",
    ),
    "a gate that looks for no wish": (
        "begin",
        "  if wish or status == 'held' then return withdraw(",
        "  if status == 'held' then return withdraw(",
    ),
    "an outcome that overtakes a wish": (
        "outcomes",
        "if not (wished and wishes.overtake(unpack(fields))) then",
        "if true then",
    ),
    "a wish that nobody is told of": (
        "withdrawn",
        "      stops[#stops + 1] = delivery\n"
        "      stops[#stops + 1] = wish == 'cancel' and 'cancelled' or 'held'\n",
        "",
    ),
    "a wish that outlives the success": (
        "withdrawn",
        "  for i = 2, #fulfilled, 3 do wishes.forget(fulfilled[i]) end\n",
        "",
    ),
}


@pytest.mark.parametrize("name", HOLDING_MUTANTS)
def test_a_bug_planted_in_holding_is_caught(
    redis_servers: Callable[[str], RedisServer], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    plant_in(monkeypatch, *HOLDING_MUTANTS[name])

    class Holding(machine_on(redis_servers("redis-7"))):  # type: ignore[misc]
        """Wishes are rare otherwise."""

        @rule(
            name=st.sampled_from(WORKERS),
            order_id=st.sampled_from(IDS),
            act=st.sampled_from(["hold", "hold", "cancel"]),
            how=st.sampled_from(["fulfilled", "retried", "withdrawn"]),
            early=st.booleans(),
        )
        def order_meets_a_wish(
            self, name: str, order_id: str, act: str, how: str, early: bool
        ) -> None:
            if early:
                self.operator_holds_cancels_or_releases(order_id, act)
            self.push(order_id)
            self.push(order_id)
            hand = self.hands[name]
            self.say(hand, claim=3)
            self.say(hand, begin=[held for held in hand.held.values() if not held.begun])
            if not early:
                self.operator_holds_cancels_or_releases(order_id, act)
                self.heartbeat(name)
            for held in [held for held in hand.held.values() if held.begun]:
                self.say(hand, ended=[(held, how)])
            self.operator_holds_cancels_or_releases(order_id, "release")

    hunt(Holding)


def hunt(machine: type[QueueMachine]) -> None:
    """Run the model on the queue until it finds something wrong."""
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - looked at below
        run_state_machine_as_test(machine, settings=HUNT)
    assert _is_finding(caught.value), caught.value
    machine.client.close()


def _is_finding(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_finding, error.exceptions))
    # That a planted crash is a crash proves nothing.
    return isinstance(error, AssertionError) and not isinstance(error, ScriptFailed)
