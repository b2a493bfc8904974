"""`python -m proofs.replacements [PROCESSES [SECONDS]]`: replaces so many, or as many as fit."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from proofs.replacements.run import replace
from tests.support.redis_server import RedisServer


def main(many: int, within: float) -> int:
    """Replace them, and print what was seen; 1 if anything fell, came or went."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder)).start()
        try:
            found = replace(server, Path(folder) / "worker", many, within=within)
        finally:
            server.close()
    print(
        f"{found.replaced} processes replaced in {found.seconds:.0f} s, {found.killed} of them "
        f"killed; {found.scrapes} scrapes, the slowest {found.slowest * 1000:.0f} ms; "
        f"{found.series} series; counters that fell {len(found.fell)}, series that came "
        f"{len(found.came)} or went {len(found.went)}; orders fulfilled {found.fulfilled}, "
        f"counted {found.counted}"
    )
    for each in [*found.fell, *found.came, *found.went][:20]:
        print(each)
    return 1 if found.fell or found.came or found.went else 0


if __name__ == "__main__":
    given = sys.argv[1:] + ["1000", "inf"][len(sys.argv) - 1 :]
    sys.exit(main(int(given[0]), float(given[1])))
