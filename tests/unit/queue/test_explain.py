"""What people are told when Redis refuses, or can't be asked."""

from __future__ import annotations

import pytest
from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError, ResponseError

from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.queue.errors import explain

_URL = RedisUrl.parse("redis://:hunter2@shop/3")
_IN_A_SCRIPT = "Error running script (call to f_a1): @user_script:355: @user_script: 355: -"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OutOfMemoryError("command not allowed"), "is out of memory"),
        (ResponseError(_IN_A_SCRIPT + "OOM command not allowed when used"), "is out of memory"),
        (ReadOnlyError("You can't write"), "is a read-only replica"),
        (ResponseError(_IN_A_SCRIPT + "READONLY You can't write"), "is a read-only replica"),
        (ResponseError("WRONGTYPE Operation against a key"), "`fulfillment-worker doctor` names"),
        (
            ResponseError("Command # 2 (LLEN x) of pipeline caused error: ('WRONGTYPE Operat',)"),
            "`fulfillment-worker doctor` names",
        ),
        (ResponseError("ROOMY is no code"), "refused: ROOMY is no code"),
    ],
)
def test_a_refusal_says_what_to_do(error: RedisError, says: str) -> None:
    line = explain(error, _URL)
    assert line.startswith("Redis at redis://***@shop:6379/3 ")
    assert says in line
    assert "\n" not in line
