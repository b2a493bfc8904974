"""Hostile entries for the list: rubbish, near misses, and orders whose ids try to do harm."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

NASTY_IDS = (
    "*",
    "[a-z]?",
    "{orders}",
    "}{",
    "orders:events",
    "..:..",
    "'; redis.call('FLUSHALL') --",
    "]] redis.call('FLUSHALL') --[[",
    "%s%d%n",
    "$(reboot)",
    "\u202eevil",
    "\U0001f4a3" * 30,
    '","status":"fulfilled',
    "a\tb",
    "line\nbreak",
    "\x1b[2J\x1b]0;title\x07",
    "\x00",
    "x" * 128,
    "x" * 129,
    " ",
    "NaN",
)


def entries(seed: int, many: int) -> Iterator[bytes]:
    """`many` entries; the same for the same seed."""
    draw = random.Random(seed)
    for number in range(many):
        yield draw.choice(_MAKERS)(draw, number)


def _order(draw: random.Random, number: int) -> bytes:
    body = {"order_id": f"F-{number}", "items": [draw.random() for _ in range(draw.randrange(4))]}
    return json.dumps(body).encode()


def _noise(draw: random.Random, number: int) -> bytes:
    return draw.randbytes(draw.randrange(40))


def _mutated(draw: random.Random, number: int) -> bytes:
    raw = bytearray(_order(draw, number))
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(raw))
        change = draw.randrange(3)
        if change == 0:
            raw[at] = draw.randrange(256)
        elif change == 1:
            raw[at:at] = draw.randbytes(draw.randrange(3))
        elif len(raw) > 1:
            del raw[at]
    return bytes(raw)


def _truncated(draw: random.Random, number: int) -> bytes:
    raw = _order(draw, number)
    return raw[: draw.randrange(len(raw))]


def _nasty_id(draw: random.Random, number: int) -> bytes:
    suffix = f"~{number}" if draw.random() < 0.8 else ""
    order_id = draw.choice(NASTY_IDS)[: 128 - len(suffix)] + suffix
    return json.dumps({"order_id": order_id}, ensure_ascii=draw.random() < 0.5).encode()


def _odd_id(draw: random.Random, number: int) -> bytes:
    ids: tuple[object, ...] = (
        number,
        -number,
        10**30 + number,
        number + 0.5,
        True,
        None,
        [],
        {},
        "",
        [number],
    )
    return json.dumps({"order_id": draw.choice(ids)}).encode()


def _nested(draw: random.Random, number: int) -> bytes:
    depth = draw.choice((3, 199, 200, 900, 5000))
    return b'{"order_id":"N-%d","x":' % number + b"[" * depth + b"]" * depth + b"}"


def _not_an_object(draw: random.Random, number: int) -> bytes:
    return json.dumps(draw.choice(([], [number], "F", number, None, True, 1.5))).encode()


def _out_of_range(draw: random.Random, number: int) -> bytes:
    numbers = (b"1e999", b"-1e999", b"9" * 5000, b"1e-999", b"NaN", b"Infinity", b"0x1", b"01")
    return b'{"order_id":"R-%d","n":%s}' % (number, draw.choice(numbers))


def _meta(draw: random.Random, number: int) -> bytes:
    odd: tuple[object, ...] = (
        "soon",
        -1,
        1e300,
        [],
        {},
        None,
        "00-" + "0" * 32,
        "\x00",
        "2023-11-14T22:13:20Z",
    )
    body: dict[str, object] = {"order_id": f"M-{number}"}
    body |= {name: draw.choice(odd) for name in ("enqueued_at", "created_at", "traceparent")}
    return json.dumps(body).encode()


def _like_ours(draw: random.Random, number: int) -> bytes:
    """What entries look like inside: a header, a line feed, bytes."""
    return b"%d 0 0 %d\n" % (draw.randrange(10), number) + _order(draw, number)


def _cut_text(draw: random.Random, number: int) -> bytes:
    """Half a surrogate pair, as JavaScript makes it: in a text, a name, the id."""
    half = draw.choice((b"\\ud83d", b"\\ude00", b"\\ud83d\\u0041"))
    form = draw.choice((b'"A-%d","x":"%s"', b'"A-%d","%s":1', b'"A-%d%s"'))
    return b'{"order_id":%s}' % (form % (number, half))


_MAKERS = (
    *(_order,) * 4,
    _noise,
    _mutated,
    _truncated,
    _nasty_id,
    _odd_id,
    _nested,
    _not_an_object,
    _out_of_range,
    _meta,
    _like_ours,
    _cut_text,
)
