"""`python -m proofs.fuzz.decode SECONDS`: atheris against `decode`, led by the branches it reaches.

What it found that was worth another look is kept in .fuzz, and is where the next run begins.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["fulfillment_worker.core"]):
    from fulfillment_worker.core.decode import Decoded, Undecodable, decode

from proofs.fuzz.entries import entries

_MAX_BYTES = 4096
_CORPUS = Path(".fuzz/corpus")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def check(raw: bytes) -> None:
    """AssertionError, or whatever `decode` raises, is a finding."""
    found = decode(raw, id_field="order_id", max_bytes=_MAX_BYTES)
    if isinstance(found, Undecodable):
        assert found.why, raw
        assert not _CONTROL.search(found.why), found.why
        assert len(found.why) < 500, found.why
        return
    assert isinstance(found, Decoded)
    assert len(raw) <= _MAX_BYTES
    assert 1 <= len(found.id) <= 128
    assert not _CONTROL.search(found.id)
    assert found.enqueued_unix is None or 946684800 <= found.enqueued_unix < 253402300800
    _check_against_another_parser(raw, found)


def _check_against_another_parser(raw: bytes, found: Decoded) -> None:
    try:
        body = json.loads(raw)
    except RecursionError:
        return
    assert found.body == body
    assert found.id == str(body["order_id"])


def main(seconds: int) -> None:
    """Fuzz for so long; libFuzzer tells how many executions there were, and ends the process."""
    _CORPUS.mkdir(parents=True, exist_ok=True)
    for number, raw in enumerate(entries(1, 300)):
        (_CORPUS / f"entry-{number}").write_bytes(raw[: 2 * _MAX_BYTES])
    options = [f"-max_total_time={seconds}", "-max_len=8192", "-artifact_prefix=.fuzz/"]
    atheris.Setup([sys.argv[0], *options, "-print_final_stats=1", str(_CORPUS)], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3600)
