"""Dovecot as what Postfix asks about passwords and tokens (SASL over TCP).  Needs root and Debian's `dovecot-core`."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.rig.postfix import free_port, wait_for_port

_CONFIGURATION = """\
base_dir = {base}/run
state_dir = {base}/run
log_path = {base}/log
ssl = no
protocols =
auth_mechanisms = plain login cram-md5 xoauth2 oauthbearer
disable_plaintext_auth = no
auth_failure_delay = 0
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {base}/oauth2.conf
}}
passdb {{
  driver = passwd-file
  mechanisms = plain login cram-md5
  args = scheme=PLAIN {base}/users
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home=/tmp
}}
service auth {{
  inet_listener {{
    address = 127.0.0.1
    port = {port}
  }}
}}
"""

_TOKENS = """\
introspection_url = {url}
introspection_mode = auth
username_attribute = username
"""


class Dovecot:
    """One instance below `directory`, which all may enter.  users: passwords by name.  introspection: a URL that says
    whose the token is that came as Bearer.
    """

    def __init__(self, directory: Path, users: dict[str, str], introspection: str) -> None:
        self.port = free_port()
        self._base = directory
        self._files = {
            "dovecot.conf": _CONFIGURATION.format(base=directory, port=self.port),
            "oauth2.conf": _TOKENS.format(url=introspection),
            "users": "".join(f"{name}:{password}\n" for name, password in users.items()),
        }

    @property
    def log(self) -> str:
        """What it said."""
        return (self._base / "log").read_text()

    def __enter__(self) -> Dovecot:
        for name, text in self._files.items():
            (self._base / name).write_text(text)
        self._run()
        wait_for_port(self.port)
        return self

    def __exit__(self, *_: object) -> None:
        self._run("stop")

    def _run(self, *verb: str) -> None:
        command = ["/usr/sbin/dovecot", "-c", str(self._base / "dovecot.conf"), *verb]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=30)
