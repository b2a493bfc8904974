"""What people are told when Redis refuses, or can't be asked."""

from __future__ import annotations

from typing import Any

import pytest
from redis._parsers import BaseParser
from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError, ResponseError

from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.queue.redis_errors import explain

parse_error: Any = BaseParser.parse_error
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
        (parse_error("NOAUTH HELLO must be called"), "needs a password, and none was given"),
        (parse_error("WRONGPASS invalid"), "refused the user name or the password"),
        (parse_error("DENIED Redis is running in"), "is in protected mode, and takes nobody from"),
        (parse_error("ERR max number of clients reached"), "takes no more connections"),
        (
            parse_error("ERR max number of clients + cluster connections reached"),
            "takes no more connections",
        ),
        (parse_error("LOADING Redis is"), "is loading its data"),
        (parse_error("MASTERDOWN Link with"), "is a replica without its primary"),
        (parse_error("MISCONF Redis is"), "takes no writes, since it can't save them to disk"),
        (parse_error("NOREPLICAS Not enough"), "takes no writes, since too few replicas"),
        (parse_error("BUSY Redis is busy"), "is busy with a script"),
        (parse_error("CLUSTERDOWN Hash slot"), "is a cluster that is down"),
        (parse_error("MOVED 1 h:1"), "write redis+cluster://"),
        (parse_error("TRYAGAIN Multiple keys"), "is moving the queue to another node"),
        (parse_error("ERR unknown command 'HSET', with"), "does not know a command"),
        (parse_error("ERR Unknown Redis command called from script"), "does not know a command"),
        # A missing right within a script: Redis 7.0; Redis 7.2, 8 and Valkey; and Redis's pcall.
        (
            parse_error("ERR The user executing the script can't run this command or subcommand"),
            "does not permit this user a command",
        ),
        (
            parse_error("ERR ACL failure in script: User w has no permissions to run the 'hset'"),
            "does not permit this user a command",
        ),
        (parse_error("NOPERM ACL failure in script: No permissions"), "does not permit this user"),
        (
            parse_error("ERR The user executing the script can't access at least one of the keys"),
            "does not permit this user a command",
        ),
    ],
)
def test_a_refusal_says_what_to_do(error: RedisError, says: str) -> None:
    line = explain(error, _URL)
    assert line.startswith("Redis at redis://***@shop:6379/3 ")
    assert says in line
    assert "\n" not in line
