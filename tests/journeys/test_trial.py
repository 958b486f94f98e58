"""`relayd try`: whatever speaks SMTP delivers through it, and the way of the mail is printed."""

from __future__ import annotations

import re
import signal
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.journeys.conftest import message
from tests.rig.peers import require_program

_ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Trial:
    """A running trial; `port` takes mail."""

    process: subprocess.Popen[str]
    port: int

    def read_until(self, start: str) -> str:
        """What is printed, up to a line that begins so."""
        assert self.process.stdout is not None
        said = ""
        for line in self.process.stdout:
            said += line
            if line.startswith(start):
                return said
        raise AssertionError(f"no {start!r} in {said}")


@contextmanager
def trying() -> Iterator[Trial]:
    with subprocess.Popen(
        [sys.executable, "-m", "relayd", "try"], cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        trial = Trial(process, 0)
        try:
            found = re.search(r"takes mail at 127\.0\.0\.1:(\d+)", trial.read_until("Ctrl-C"))
            assert found is not None
            trial.port = int(found[1])
            yield trial
        finally:
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
        assert process.returncode == 0
        assert errors == ""


def test_smtplib_and_swaks_deliver_through_a_trial() -> None:
    swaks = require_program("swaks")
    with trying() as trial:
        with smtplib.SMTP("127.0.0.1", trial.port, timeout=30) as client:
            client.sendmail("you@example.org", ["friend@example.net"], message("by smtplib"))
        said = trial.read_until("   | Subject: by smtplib")
        assert said.index("smtp.mail-from") < said.index("queue.queue-message") < said.index("delivery.attempt-start")
        subprocess.run(
            [swaks, "--server", f"127.0.0.1:{trial.port}", "--from", "you@example.org", "--to", "friend@example.net",
             "--header", "Subject: by swaks"],
            check=True, capture_output=True, timeout=30,
        )  # fmt: skip
        assert "from <you@example.org> to <friend@example.net>" in trial.read_until("   | Subject: by swaks")
