"""How scripts are put together: what is seldom needed costs nothing where it isn't called."""

from __future__ import annotations

from fulfillment_worker.queue import redis_queue, scripts


def test_scripts_keep_what_is_seldom_needed_within_one_function() -> None:
    seldom = scripts.Seldom("recovery", ("ids", "reap"))
    plain = scripts.load("heartbeat", "common").text
    text = scripts.load("heartbeat", "common", seldom).text
    ids, reap = (scripts.load(part).text for part in ("ids", "reap"))
    within = f"local function recovery()\n{ids}\n{reap}\nend\n"
    assert text.replace(f"{within}\n", "") == plain


def test_scripts_of_exchanges_make_the_functions_of_recovery_only_when_called() -> None:
    _, _, after = redis_queue.EXCHANGE.text.partition("local function recovery()\n")
    within = after.split("\nreturn {\n  reap = reap", maxsplit=1)[0]
    assert "local function put_back(" in within
    assert "local function claim(" not in within
