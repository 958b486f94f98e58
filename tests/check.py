"""The gate in one command: `python -m tests.check [pytest arguments]`.

Runs the formatter's check, the linter, the strict type check, the rings, then the tests; stops at the first that
fails.  Arguments go to pytest instead of "all but the long proofs, three files at a time": most tests wait for
processes, disks and clocks rather than compute.  The long proofs run alone (`pytest -m long`), they count what happens
in time.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_BIN = Path(sys.executable).parent

STEPS: tuple[tuple[str, ...], ...] = (
    ("ruff", "format", "--check", "."),
    ("ruff", "check", "."),
    ("mypy",),
    ("lint-imports",),
)


def main(arguments: list[str]) -> int:
    """Run every step; the exit code of the first that fails, else pytest's."""
    for step in STEPS:
        print(f"== {' '.join(step)}", flush=True)
        done = subprocess.run([str(_BIN / step[0]), *step[1:]], cwd=_ROOT, check=False)
        if done.returncode != 0:
            return done.returncode
    tests = arguments or ["-m", "not long", "-n", "3", "--dist", "loadfile"]
    print(f"== pytest {' '.join(tests)}", flush=True)
    return subprocess.run([sys.executable, "-m", "pytest", *tests], cwd=_ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
