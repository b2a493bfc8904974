"""`python -m proofs.fuzz [ENTRIES] [SEED]`: as many hostile entries as you like."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from proofs.fuzz.attack import attack
from tests.support.redis_server import RedisServer


def main(many: int, seed: int) -> int:
    """Attack, and print what was found; 1 if an entry was lost or changed."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder)).start()
        try:
            found = attack(server, Path(folder) / "worker", seed=seed, many=many)
        finally:
            server.close()
    print(
        f"{found.pushed} entries (seed {seed}) in {time.monotonic() - started:.0f} s: "
        f"fulfilled {found.fulfilled}, duplicates {found.duplicates}, dead {found.dead}, "
        f"lost {len(found.lost)}, changed {len(found.changed)}, crashes {found.restarts}"
    )
    return 1 if found.lost or found.changed or found.restarts else 0


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    sys.exit(main(*(given + [1_000_000, 1][len(given) :])))
