"""How many entries are read at once."""

from __future__ import annotations

from fulfillment_worker.admin.stride import Stride
from fulfillment_worker.core.exchange import MOST_BYTES


def test_stride_grows_while_entries_are_small() -> None:
    stride = Stride()
    seen = []
    for _ in range(6):
        seen.append(stride.many)
        stride.note([b"x" * 100] * stride.many)
    assert seen == [4, 16, 64, 256, 500, 500]


def test_stride_is_as_many_as_fit_into_one_exchange() -> None:
    stride = Stride()
    stride.note([b"x" * (MOST_BYTES // 8)] * 4)
    assert stride.many == 8
    stride.note([b"x" * MOST_BYTES])
    assert stride.many == 1
    stride.note([b"x" * 30 * MOST_BYTES])
    assert stride.many == 1


def test_stride_is_kept_where_nothing_was_read() -> None:
    stride = Stride()
    stride.note([])
    assert stride.many == 4
