"""Settings written through the API: durable, checked before they are stored, in force at a reload that hurts nobody."""

from __future__ import annotations

import smtplib
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import trustme

from tests.journeys.conftest import StartRelay, message, send, wait_logged, wait_until
from tests.rig.daemon import Daemon
from tests.rig.sink import Sink

_ROOT = Path(__file__).resolve().parents[2]


def relayd(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """The command line, as an operator types it."""
    return subprocess.run(
        [sys.executable, "-m", "relayd", *arguments],
        cwd=_ROOT, capture_output=True, text=True, timeout=60, check=False, input=given,
    )  # fmt: skip


def post(daemon: Daemon, *values: tuple[str, str]) -> Any:
    """Write settings; the whole answer."""
    body = [{"type": "insert", "prefix": None, "values": values, "assert_empty": False}]
    status, answer = daemon.request("POST", "/api/settings", body)
    assert status == 200
    return answer


def value_of(daemon: Daemon, key: str) -> tuple[str, str]:
    """A setting and where it comes from."""
    found = daemon.data_of("GET", f"/api/settings/keys?keys={key}&source=1")
    return found["items"][key], found["sources"][key]


def size_offered(client: smtplib.SMTP) -> str:
    client.ehlo()
    return str(client.esmtp_features["size"])


SIZE = "session.data.limits.size"


def test_a_reload_drops_no_session_and_a_restart_keeps_the_value(relay: StartRelay) -> None:
    with Sink() as sink:
        daemon = relay(sink.port)
        with smtplib.SMTP("127.0.0.1", daemon.smtp_port, "client.test", timeout=60) as client:
            assert size_offered(client) == str(100 << 20)
            client.mail("a@sender.test")
            client.rcpt("b@receiver.test")
            assert post(daemon, (SIZE, "5MB")) == {"data": None}
            assert value_of(daemon, SIZE) == ("5MB", "database")
            with smtplib.SMTP("127.0.0.1", daemon.smtp_port, "client.test", timeout=60) as other:
                assert size_offered(other) == str(100 << 20)  # not before the reload
            assert daemon.data_of("GET", "/api/reload?dry-run=1")["errors"] == {}
            assert daemon.data_of("GET", "/api/reload/")["errors"] == {}
            with smtplib.SMTP("127.0.0.1", daemon.smtp_port, "client.test", timeout=60) as other:
                assert size_offered(other) == str(5 << 20)
            code, text = client.data(message())  # the transaction that was under way
            assert code == 250, text
            assert size_offered(client) == str(5 << 20)
        sink.wait_for(1)
        assert daemon.stop() == 0
        daemon.start()
        assert value_of(daemon, SIZE) == ("5MB", "database")
        with smtplib.SMTP("127.0.0.1", daemon.smtp_port, "client.test", timeout=60) as client:
            assert size_offered(client) == str(5 << 20)
        daemon.data_of("DELETE", f"/api/settings/{SIZE}")
        assert daemon.data_of("GET", "/api/settings/list?prefix=session") == {"total": 0, "items": {}}


def test_what_was_answered_survives_a_crash(relay: StartRelay) -> None:
    daemon = relay()
    assert post(daemon, ("queue.schedule.expire", "3d"), ("server.node", "4")) == {"data": None}
    daemon.kill()
    daemon.start()
    assert value_of(daemon, "queue.schedule.expire") == ("3d", "database")


def test_a_wrong_value_is_refused_with_the_reason_and_nothing_is_stored(relay: StartRelay) -> None:
    daemon = relay()
    answer = post(daemon, ("queue.schedule.expire", "3d"), ("session.plugins", "no_such_module:Class"))
    assert answer["error"] == "other"
    assert answer["reason"].startswith("session.plugins: no_such_module:Class cannot be loaded")
    assert daemon.data_of("GET", "/api/settings/keys?keys=queue.schedule.expire") == {}
    done = relayd("settings", "set", "--config", str(daemon.config), "queue.schedul.expire", "3d")
    assert done.returncode == 65
    assert 'did you mean "queue.schedule.expire"?' in done.stderr


def test_a_secret_is_masked_wherever_it_is_shown(relay: StartRelay) -> None:
    daemon = relay()
    arguments = ("settings", "set", "--config", str(daemon.config), "account.app.secret", "-")
    done = relayd(*arguments, given="hunter2-plain\n")
    assert done.returncode == 0, done.stderr
    wait_logged(daemon, "manage.action", 'type = "settings-update"', 'details = "account.app.secret"', "accountName")
    route = "queue.route.smart"
    pairs = (
        (f"{route}.address", "a.example"),
        (f"{route}.auth.username", "u"),
        (f"{route}.auth.secret", "hunter2-sent"),
    )
    assert post(daemon, *pairs) == {"data": None}
    shown = daemon.data_of("GET", "/api/settings/list?defaults=1&source=1")["items"]
    assert shown["account.app.secret"] == shown[f"{route}.auth.secret"] == "********"
    assert daemon.data_of("GET", "/api/reload")["errors"] == {}
    with smtplib.SMTP("127.0.0.1", daemon.smtp_port, "client.test", timeout=60):
        pass
    status, _ = daemon.request("POST", "/api/settings", [{"type": "clear", "prefix": "queue.route."}])
    assert status == 200
    assert daemon.stop() == 0
    logs = "".join(path.read_text() for path in (daemon.data / "logs").iterdir())
    assert "settings-update" in logs
    for text in (logs, daemon.output.read_text(), relayd("check", "--json", "--config", str(daemon.config)).stdout):
        assert "hunter2" not in text
    stored = sqlite3.connect(daemon.data / "settings.db").execute("SELECT key, value FROM settings").fetchall()
    assert [key for key, _ in stored] == ["account.app.secret"]
    assert stored[0][1].startswith("$argon2id$")


def test_a_start_refuses_a_stored_value_that_became_wrong_and_says_the_way_out(relay: StartRelay) -> None:
    daemon = relay()
    assert post(daemon, ("queue.outbound.next-hop", "mx"), ("server.node", "3")) == {"data": None}
    assert daemon.stop() == 0
    with sqlite3.connect(daemon.data / "settings.db") as database:  # as a downgrade would find it
        database.execute("UPDATE settings SET value = 'smart' WHERE key = 'queue.outbound.next-hop'")
        database.execute("INSERT INTO settings VALUES ('queue.of.tomorrow.0000', 'x')")
    database.close()
    daemon.start(wait=False)
    assert daemon.process is not None
    assert daemon.process.wait(60) == 78
    said = daemon.output.read_text()
    assert "database: queue.of.tomorrow.0000: unknown key" in said
    assert '"relayd settings delete queue.of.tomorrow.0000"' in said
    config = ("--config", str(daemon.config))
    checked = relayd("check", *config)
    assert checked.returncode == 78
    assert "database: queue.of.tomorrow.0000: unknown key" in checked.stderr
    assert relayd("settings", "delete", *config, "queue.of.tomorrow.0000").returncode == 0
    checked = relayd("check", *config)
    assert 'database: queue.outbound.next-hop: there is no route "smart"' in checked.stderr
    done = relayd("settings", "delete", *config, "--below", "queue.outbound.")
    assert done.returncode == 0, done.stderr
    assert "queue.outbound.next-hop" in done.stdout
    assert relayd("settings", "delete", *config, "queue.outbound.next-hop").returncode == 66
    checked = relayd("check", *config)
    assert checked.returncode == 0
    assert f"1 keys of {daemon.data}/settings.db are laid over the file" in checked.stdout
    daemon.start()
    assert value_of(daemon, "server.node") == ("3", "database")


def test_a_newer_schema_is_left_alone(relay: StartRelay) -> None:
    daemon = relay()
    assert daemon.stop() == 0
    path = daemon.data / "settings.db"
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    before = path.read_bytes()
    daemon.start(wait=False)
    assert daemon.process is not None
    assert daemon.process.wait(60) == 78
    assert f"{path} has schema 99" in daemon.output.read_text()
    assert path.read_bytes() == before
    path.unlink()
    daemon.start()
    assert daemon.data_of("GET", "/api/settings/list?source=1&prefix=server")["sources"]["server.hostname"] == "file"


def test_a_backup_holds_the_settings_and_a_restore_has_them(relay: StartRelay, tmp_path: Path) -> None:
    daemon = relay()
    assert post(daemon, (SIZE, "7MB")) == {"data": None}
    assert relayd("backup", "--config", str(daemon.config), str(tmp_path / "copy")).returncode == 0
    assert post(daemon, (SIZE, "8MB")) == {"data": None}
    daemon.kill()
    copy = relay(None, {"server.data-dir": str(tmp_path / "copy")})
    assert value_of(copy, SIZE) == ("7MB", "database")


def test_a_reload_answers_errors_by_key_and_applies_nothing(relay: StartRelay) -> None:
    daemon = relay()
    good = daemon.config.read_text()
    daemon.config.write_text(good + 'queue.outbound.next-hop = "nowhere"\nqueue.schedule.expire = "9d"\n')
    for arguments, applied in (("?dry-run=1", False), ("", False)):
        found = daemon.data_of("GET", f"/api/reload{arguments}")
        line = good.count("\n") + 1
        error = f'{daemon.config}:{line}: there is no route "nowhere"; expected one of "mx"'
        assert found == {"warnings": {}, "errors": {"queue.outbound.next-hop": {"type": "build", "error": error}}}, (
            applied
        )
    done = relayd(
        "reload", "--config", str(daemon.config.with_name("gone.toml")), "--url", f"unix:{daemon.data}/control.sock"
    )
    assert done.returncode == 78
    assert "nowhere" in done.stderr
    daemon.config.write_text(good.replace('"relay.test"', '"other.test"') + 'queue.schedule.expire = "9d"\n')
    done = relayd("reload", "--dry-run", "--config", str(daemon.config))
    assert "nothing was applied" in done.stdout
    found = daemon.data_of("GET", "/api/reload/anything")
    assert found["errors"] == {}
    assert found["warnings"]["server.hostname"]["error"].endswith("takes effect at the next start")
    wait_logged(daemon, "config.restart-needed", "server.hostname")
    assert send(daemon)


def test_certificates_are_read_again_alone(relay: StartRelay, tmp_path: Path) -> None:
    path = tmp_path / "mx.pem"

    def issue() -> None:
        trustme.CA().issue_cert("relay.test").private_key_and_cert_chain_pem.write_to_path(str(path))

    issue()
    daemon = relay(None, {"certificate.mx.cert": str(path), "certificate.mx.private-key": str(path)})
    issue()
    assert daemon.data_of("GET", "/api/reload/certificate") == {"warnings": {}, "errors": {}}
    wait_until(lambda: daemon.output.read_text().count("tls.certificate-loaded") == 2, "the new certificate is loaded")
    path.write_text("no certificate")
    found = daemon.data_of("GET", "/api/reload/certificate")
    assert found["errors"]["certificate.mx.cert"]["type"] == "build"
    for part in ("lookup", "server.blocked-ip"):
        assert daemon.data_of("GET", f"/api/reload/{part}") == {"warnings": {}, "errors": {}}
