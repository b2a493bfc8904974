"""Bugs planted in the worker by hand, and fixes of the past taken back: do the worlds find them?

A bug is an exact text of one file, and what stands in its place. Those of the model test
(tests/model) are tried as well.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tests.model.test_model import HOLDING_MUTANTS, OPERATORS_MUTANTS, OTHER_MUTANTS
from tests.model.test_model import MUTANTS as MODEL_MUTANTS

SOURCE = Path(__file__).parents[2] / "src" / "fulfillment_worker"


class Edit(NamedTuple):
    """file: relative to the package; "lua" for whichever part of the library has the text."""

    file: str
    was: str
    becomes: str


class Mutant(NamedTuple):
    """kind: "planted", "model" or "past" (a fix of the past that is taken back)."""

    name: str
    kind: str
    edits: tuple[Edit, ...]


_LEDGER, _CONSUMER = "worker/ledger.py", "worker/consumer.py"


def _planted(name: str, file: str, was: str, becomes: str) -> Mutant:
    return Mutant(name, "planted", (Edit(file, was, becomes),))


def _past(name: str, *edits: tuple[str, str, str]) -> Mutant:
    return Mutant(name, "past", tuple(Edit(*edit) for edit in edits))


_PLANTED = (
    # --- the ledger -------------------------------------------------------------------------------
    _planted(
        "an outcome is dropped when the reply to it is lost",
        _LEDGER,
        "self._ended = [held for held in self._ended if held.id in in_flight]",
        "self._ended = []",
    ),
    _planted(
        "what a lost exchange has claimed is not taken up",
        _LEDGER,
        "        for claimed in holdings.unknown:\n            self._hold(claimed, holdings.now)",
        "        for claimed in ():\n            self._hold(claimed, holdings.now)",
    ),
    _planted(
        "deliveries of two exchanges get the same numbers",
        _LEDGER,
        "self._next_delivery, self._next_delivery + claim",
        "self._next_delivery, self._next_delivery + max(0, claim - 1)",
    ),
    _planted(
        "the name stays after a lost lease",
        _LEDGER,
        "self.worker, self._exchanges, self._asked = worker_name(), 0, 0",
        "self._exchanges, self._asked = 0, 0",
    ),
    _planted(
        "recorded outcomes are sent once more",
        _LEDGER,
        "recorded, self._ended = self._ended[:sent], self._ended[sent:]",
        "recorded, self._ended = self._ended[:sent], self._ended[max(0, sent - 1):]",
    ),
    _planted(
        "what asks to begin while an exchange is under way is forgotten",
        _LEDGER,
        "answered, self._asking = self._asking[:asked], self._asking[asked:]",
        "answered, self._asking = self._asking[:asked], []",
    ),
    _planted(
        "the number of an exchange is one ahead",
        _LEDGER,
        "        self._exchanges = exchange.number\n",
        "        self._exchanges = exchange.number + len(exchange.outcomes)\n",
    ),
    _planted(
        "a duplicate starts all the same",
        _LEDGER,
        "            if verdict is Verdict.GO:\n",
        "            if verdict is not Verdict.BUSY:\n",
    ),
    _planted(
        "what Redis has forgotten goes on and is told",
        _LEDGER,
        "        self._forget(gone)\n",
        "        self._forget(each for each in gone if not each.is_underway)\n",
    ),
    # --- the consumer -----------------------------------------------------------------------------
    _planted(
        "a stale reply is no reason to ask",
        _CONSUMER,
        "        if reply.stale:\n            self._unsure = True\n",
        "        if reply.stale:\n            self._unsure = False\n",
    ),
    _planted(
        "an order that comes wakes nobody",
        _CONSUMER,
        "wakeup.reply is None)\n            self.wake()\n",
        "wakeup.reply is None)\n",
    ),
    _planted(
        "a backlog is no reason for an exchange",
        _CONSUMER,
        "return self._cadence.last.backlog and self._claimable() > 0",
        "return False",
    ),
    _planted(
        "the end of an attempt frees no slot",
        _LEDGER,
        "            self._capacity.ended(self._rank)\n",
        "            pass\n",
    ),
    _planted(
        "what ends makes no exchange",
        _CONSUMER,
        "        if self._urgent or self._unsure or self._ledger.has_news:\n",
        "        if self._urgent or self._unsure or self._ledger._asking:\n",
    ),
    _planted(
        "a busy worker is silent for longer than its lease",
        "core/cadence.py",
        "longest = min(HEARTBEAT, lease / 3)",
        "longest = 1.3 * lease",
    ),
    _planted(
        "after a lost lease the old orders run on as if they were its own",
        _CONSUMER,
        "self._shared.executor.discard(self._ledger.lose())",
        "self._ledger.lose()",
    ),
    _planted(
        "an outage is waited out for far too long",
        "worker/outage.py",
        "_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0",
        "_FIRST_PAUSE, _LONGEST_PAUSE = 4.0, 30.0",
    ),
    _planted(
        "a wait that failed wakes nobody",
        "worker/wakeups.py",
        "            await asyncio.sleep(_PAUSE_AFTER_FAULT)\n        self._wake(wakeup)",
        "            return\n        self._wake(wakeup)",
    ),
    # --- attempts ---------------------------------------------------------------------------------
    _planted(
        "only the first attempt of a burst has a deadline",
        "worker/executor.py",
        "            if left > 0:\n                self._set_timer(left)\n                return",
        "            if left > 0:\n                return",
    ),
    _planted(
        "an end is reported twice",
        "worker/executor.py",
        "        delivery.owner.attempt_ended(delivery, result)\n",
        "        delivery.owner.attempt_ended(delivery, result)\n"
        "        delivery.owner.attempt_ended(delivery, result)\n",
    ),
    _planted(
        "what was cut short counts as done",
        "worker/executor.py",
        "            result = _too_late(result, delivery.cut_short)\n",
        "            result = SUCCEEDED\n",
    ),
    _planted(
        "traces of one order are left to the next",
        "worker/task_pool.py",
        "            if self._turn_number != turn or _left_traces(task, context):",
        "            if self._turn_number != turn:",
    ),
    _planted(
        "who waits for room waits for ever",
        "worker/task_pool.py",
        "            self._turning = False\n            if self._waiting:\n",
        "            if self._waiting:\n",
    ),
    _planted(
        "an open breaker stays open",
        "core/breaker.py",
        "            self._close()\n",
        "            pass\n",
    ),
    _planted(
        "a failure counts no attempt",
        "core/decide.py",
        "if attempt >= policy.max_attempts:",
        "if attempt > 2 * policy.max_attempts:",
    ),
    # --- limits -----------------------------------------------------------------------------------
    _planted(
        "a key is let go when its order begins, and once more when it ends",
        "queue/lua/begin.lua",
        "    if limits.set and verdict ~= GO then limits.let_go(WORKER, begins[i]) end\n",
        "    if limits.set then limits.let_go(WORKER, begins[i]) end\n",
    ),
    Mutant(
        "parked orders are forgotten when the one that holds their key ends",
        "planted",
        (
            Edit(
                "queue/lua/exchange.lua",
                "  if limits.set then limits.let_go_of(exchange.fulfilled, exchange.outcomes) "
                "end\n",
                "",
            ),
            Edit("queue/lua/exchange.lua", "    if limits.set then limits.sweep() end\n", ""),
        ),
    ),
    _planted(
        "one more of a key than allowed is claimed",
        "queue/lua/limits.lua",
        "  if set.at_once and count_holders(key) >= set.at_once then\n    park",
        "  if set.at_once and count_holders(key) > set.at_once then\n    park",
    ),
    _planted(
        "starts are not charged to the rate",
        "queue/lua/limits.lua",
        "    limits.reached = after_start(limits.reached, set.rate)\n",
        "",
    ),
    _planted(
        "each worker has the limit in flight for itself",
        "queue/lua/limits.lua",
        "      if worker ~= WORKER then held = held",
        "      if false then held = held",
    ),
    _planted(
        "keys that are limited anew forget who holds them",
        "queue/lua/limit.lua",
        "    if set.per_key then hold_all() end\n",
        "",
    ),
    # --- connections ------------------------------------------------------------------------------
    _planted(
        "a connection is used on after a fault",
        "queue/client.py",
        "            self._listener(CommandSent(operation, False, None))\n"
        "            if not self._outlives(error):\n                await self.close()\n",
        "            self._listener(CommandSent(operation, False, None))\n",
    ),
    _planted(
        "a broken connection is not replaced",
        "queue/client.py",
        "        if self._connection is not None and self._connection.broken:\n"
        "            await self.close()\n",
        "",
    ),
    _planted(
        "no timeout for an answer",
        "queue/connection.py",
        'answer.set_exception(TimeoutError(f"no answer within {patience:g} s"))',
        "pass",
    ),
    _planted(
        "an answer that was given up is not waited for",
        "queue/connection.py",
        "        if answer.done():  # given up\n            return\n",
        "        while answer.done() and self._waiting:\n"
        "            answer = self._waiting.popleft()\n        if answer.done():\n"
        "            return\n",
    ),
    _planted(
        "a refusal ends the shared connection for all",
        "queue/shared_client.py",
        "return isinstance(error, ResponseError | asyncio.CancelledError)",
        "return True",
    ),
    # --- Lua --------------------------------------------------------------------------------------
    _planted(
        "the wrong worker's orders are reaped",
        "queue/lua/exchange.lua",
        "recovered, orphaned = reap(leases[i])",
        "recovered, orphaned = reap(leases[#leases - 1])",
    ),
    _planted(
        "an event is told twice",
        "queue/lua/outcomes.lua",
        "    emit(order_id, 'fulfilled', fulfilled[i + 2])\n",
        "    emit(order_id, 'fulfilled', fulfilled[i + 2])\n"
        "    if #fulfilled > 6 then emit(order_id, 'fulfilled', fulfilled[i + 2]) end\n",
    ),
    _planted(
        "a begin forgets whose the order is",
        "queue/lua/begin.lua",
        "  if holder == WORKER and held == delivery then return false end\n",
        "  if holder ~= WORKER then return false end\n",
    ),
    _planted(
        "a claim leaves the lease as it was",
        "queue/lua/claim.lua",
        "  if not leased then call('ZADD', LEASES, whole(NOW + policy.lease), WORKER) end\n",
        "  if not leased then call('ZADD', LEASES, 'NX', whole(NOW + policy.lease), WORKER) end\n",
    ),
    _planted(
        "one order too many is removed from the list",
        "queue/lua/claim.lua",
        "    call('LTRIM', list, '0', whole(-taken - 1))\n",
        "    call('LTRIM', list, '0', whole(-taken - (taken > 4 and 2 or 1)))\n",
    ),
    _planted(
        "a copy that is busy is thrown away",
        "queue/lua/begin.lua",
        "      call('ZADD', RETRY, due_at(NOW + BUSY_WAIT), call('HGET', IN_FLIGHT, delivery))\n",
        "",
    ),
    _planted(
        "a retry is due a thousand times later",
        "queue/lua/outcomes.lua",
        "  wait_until(due_at(NOW + delay), whole(NOW + delay), entry, order_id, attempt)\n",
        "  wait_until(due_at(NOW + 1000 * delay), whole(NOW + delay), entry, order_id, attempt)\n",
    ),
    _planted(
        "an idle worker is not told when a lease ends",
        "queue/lua/exchange.lua",
        "  if leases[i] ~= WORKER and (not next_due or lease < next_due) then "
        "next_due = lease + 1 end\n",
        "",
    ),
    _planted(
        "what woke one worker is not handed on",
        "queue/lua/claim.lua",
        "  if call('LLEN', WOKEN) == 0 then return end\n",
        "  if true then return end\n",
    ),
    _planted(
        "orders that are given back vanish",
        "queue/lua/outcomes.lua",
        "  wait_until(due_since(entry.first_seen), whole(entry.first_seen), entry, order_id, "
        "attempt)\n",
        "  if attempt < 2 then wait_until(due_since(entry.first_seen), whole(entry.first_seen), "
        "entry, order_id, attempt) end\n",
    ),
    _planted(
        "suspects are taken, and stay",
        "queue/lua/claim.lua",
        "    call('RPOP', SUSPECTS)\n",
        "",
    ),
    _planted(
        "a wish is overtaken by a retry",
        "queue/lua/begin.lua",
        "  if wish or status == 'held' then return withdraw(",
        "  if wish and status ~= 'retrying' or status == 'held' then return withdraw(",
    ),
    _planted(
        "a held order is forgotten at its release",
        "queue/lua/hold.lua",
        "      call('ZADD', RETRY, due_at(NOW), packed)\n",
        "",
    ),
    Mutant(
        "a cancellation loses to nothing",
        "planted",
        (
            Edit(
                "queue/lua/outcomes.lua",
                "if not (wished and wishes.overtake(unpack(fields))) then",
                "if not (wished and fields[1] ~= 'withdrawn' and "
                "wishes.overtake(unpack(fields))) then",
            ),
            Edit(
                "queue/lua/withdrawn.lua",
                "  if not wishes.overtake('withdrawn', delivery, order_id, attempt) then\n",
                "  call('HDEL', policy.order_prefix .. order_id, 'wish')\n"
                "  if not wishes.overtake('withdrawn', delivery, order_id, attempt) then\n",
            ),
        ),
    ),
    _planted(
        "a released worker may go on",
        "queue/lua/reap.lua",
        "    call('HSET', BOOKS, 'trips:' .. worker, REAPED)\n",
        "",
    ),
)

_PAST = (
    _past(
        "a consumer that has ended is asked to lose patience",
        (
            _CONSUMER,
            "            self._patience = None  # there may be other consumers that go on\n",
            "",
        ),
    ),
    _past(
        "a question what is held goes by a stepped clock",
        (
            "queue/lua/holdings.lua",
            "  local _, judges_at = follow_clock(cmsgpack.unpack(ARGV[5]), book(2), book(3), "
            "book(4))\n"
            "  local may_judge = judges_at == 0\n"
            "  if may_judge then call('HSET', BOOKS, 'clock', now) end\n",
            "  local may_judge = true\n",
        ),
    ),
    _past(
        "a question what is held has an effect when it comes late",
        ("queue/lua/holdings.lua", "  if book(1) >= number then return {2, NOW} end\n", ""),
    ),
    _past(
        "a new worker judges leases after a second",
        (
            "queue/lua/clock.lua",
            "  if ms < policy.lease then return false end\n",
            "  do return ms > UNNOTICED end\n",
        ),
    ),
    _past(
        "a new worker judges its own lease",
        (
            "queue/lua/holdings.lua",
            "  local is_over = may_judge and lease ",
            "  local is_over = lease ",
        ),
    ),
    _past(
        "a new worker judges leases in its second exchange",
        (
            "queue/lua/clock.lua",
            "  if since < gap and not has_outlasted(exchange.known_for) then return nil, 0 end\n",
            "",
        ),
    ),
    _past(
        "a step of the clock costs leases",
        ("queue/lua/clock.lua", "then shift_leases(later) end\n", "then shift_leases(0) end\n"),
    ),
    _past(
        "a reply that was read late costs a lease where the clock is stepped",
        (
            "queue/lua/clock.lua",
            "then shift_leases(later) end\n",
            "then shift_leases(math.max(step, 0)) end\n",
        ),
    ),
    _past(
        "a worker that was stopped starts what a late reply gives it",
        (
            _CONSUMER,
            "        if now - (reply.renewed_at or sent_at) > self._shared.lease:\n",
            "        if False:\n",
        ),
    ),
    _past(
        "a worker that was stopped starts what an exchange that stood by gives it",
        (_CONSUMER, "return is_last and late < self._shared.lease / 3", "return is_last"),
    ),
    _past(
        "an exchange that stood by is lost unnoticed",
        (
            _CONSUMER,
            "            self._unsure = self._unsure or (wakeup.exchange is not None and "
            "wakeup.reply is None)\n",
            "",
        ),
    ),
    _past(
        "a stray cancellation is left to the next order",
        (
            "worker/task_pool.py",
            '    if task.cancelling() or getattr(task, "_must_cancel", False):\n',
            "    if False:\n",
        ),
    ),
    _past(
        "what was noted is left untold at the end",
        (
            _CONSUMER,
            "        self._process()\n        await self._wakeups.close()\n"
            "        # Nothing is held",
            "        await self._wakeups.close()\n        # Nothing is held",
        ),
    ),
    _past(
        "Redis's own silence costs leases",
        (
            "queue/lua/greet.lua",
            "    call('ZADD', LEASES, whole(NOW + lease_of(worker)), worker)\n",
            "",
        ),
    ),
    _past(
        "data that Redis has lost is a lost lease",
        (
            "queue/lua/exchange.lua",
            "  if lease and tonumber(lease) < NOW then return {LEASE_LOST, NOW} end\n",
            "  if not lease or tonumber(lease) < NOW then return {LEASE_LOST, NOW} end\n",
        ),
    ),
    _past(
        "an order left in flight without a lease is not found",
        (
            "queue/lua/exchange.lua",
            "  if math.abs(NOW - (looked or 0)) >= LOOK_EVERY then find_lost_leases(leases) end\n",
            "",
        ),
    ),
    _past(
        "handlers that block are started side by side",
        ("worker/task_pool.py", "_SLOW_TURN = 0.05\n", "_SLOW_TURN = 500.0\n"),
    ),
)


def mutants() -> list[Mutant]:
    """All of them."""
    model = [
        Mutant(name, "model", tuple(Edit("lua", *edit) for edit in edits))
        for name, edits in MODEL_MUTANTS.items()
    ]
    for name, (part, *edit) in (OTHER_MUTANTS | OPERATORS_MUTANTS | HOLDING_MUTANTS).items():
        file = f"queue/lua/{part}.lua"
        model.append(Mutant(name, "model", (Edit(file, *edit),)))
    return [*_PLANTED, *_PAST, *model]


def plant(mutant: Mutant, package: Path) -> None:
    """Change a copy of the package. Raises ValueError where the code is another by now."""
    for edit in mutant.edits:
        files = [package / edit.file]
        if edit.file == "lua":
            parts = sorted((package / "queue/lua").iterdir())
            files = [each for each in parts if edit.was in each.read_text("utf-8")]
        many = [each.read_text("utf-8").count(edit.was) for each in files]
        if sum(many) != 1:
            raise ValueError(f"{mutant.name}: the code has changed, plant it anew: {edit.was!r}")
        text = files[0].read_text("utf-8")
        files[0].write_text(text.replace(edit.was, edit.becomes), "utf-8")
