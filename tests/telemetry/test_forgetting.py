"""An address that is to be forgotten is in no file afterwards; its neighbours are."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from relayd.events import delivery, queue
from relayd.telemetry.files import RotatingFile
from relayd.telemetry.forgetting import Oblivion
from relayd.telemetry.log import LogFiles
from relayd.telemetry.options import TracerOptions
from relayd.telemetry.pseudonyms import Pseudonyms
from relayd.telemetry.traces import TraceQuery
from tests.telemetry.conftest import NOW, Recorder
from tests.telemetry.test_recording import WAIT, Kept


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("to = <jane@x.test>", "to = <forgotten>"),
        ("Jane@X.test, jane+shop@x.test", "forgotten, forgotten"),
        ("mary-jane@x.test jane@x.test.example jane@x.tests", "mary-jane@x.test jane@x.test.example jane@x.tests"),
        ("jane@x.test.", "forgotten."),
        ("rcpt=jane@x.test", "rcpt=forgotten"),
        ("550 no such user 'jane@x.test'", "550 no such user 'forgotten'"),
        ("o'jane@x.test", "o'jane@x.test"),
        (
            r"unknown\r\njane@x.test \u202ejane@x.test \x1bjane@x.test",
            r"unknown\r\nforgotten \u202eforgotten \x1bforgotten",
        ),
        ("<SRS0=ab=cd=x.test=jane@relay.test>", "<forgotten>"),
        ("news+jane=x.test@lists.test, b", "forgotten, b"),
        ("mary-jane=x.tests@lists.test, b", "mary-jane=x.tests@lists.test, b"),
        ('"jane@x.test"', '"forgotten"'),
        ("p-abc@x.test", "forgotten"),
    ],
)
def test_what_is_the_address_and_what_is_not(text: str, left: str) -> None:
    assert Oblivion("jane@x.test", "p-abc@x.test").replace(text) == left


def test_both_forms_of_a_domain_and_every_case_are_the_address() -> None:
    oblivion = Oblivion("jörg@bücher.test")
    assert oblivion.replace("Jörg@xn--bcher-kva.test, JÖRG@Bücher.test") == "forgotten, forgotten"
    assert Oblivion("jane@xn--bcher-kva.test").replace("jane@bücher.test") == "forgotten"


@pytest.mark.parametrize(
    "text", ["=" * 60_000, "=x.test=jane" * 5_000, "jane+" * 12_000 + "@", "-jane=x.test@" * 5_000]
)
def test_no_line_takes_long(text: str) -> None:
    began = time.process_time()
    Oblivion("jane@x.test").replace(text)
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "address", ["jane@receiver.test", "o'hara%_x@receiver.test", '"a b"@receiver.test', "JÖRG\u202e@receiver.test"]
)
def test_traces_and_history_forget(tmp_path: Path, recorder: Recorder, address: str) -> None:
    kept = Kept(tmp_path, recorder)
    kept.session(1, to=(address, "other@receiver.test"))
    kept.session(2, to=("other@receiver.test",))
    attempt = kept.attempt(1, to=address)
    delivery.BOUNCED(recorder.daemon, queue_id=1, to=address, reason=f"550 <{address}> is unknown")
    traces, history = kept.recording.forget(Oblivion(address), WAIT)
    assert traces == 2
    assert history >= 1
    assert not kept.found(filter=address)
    assert len(kept.found(filter="other@receiver.test")) == 2
    found = kept.history.get(1, NOW)
    assert found is not None
    assert [each.address for each in found.recipients] == ["forgotten", "other@receiver.test"]
    assert [each.state for each in found.recipients] == ["bounced", "scheduled"]
    assert attempt.id in kept.traces.get([attempt.id], NOW)
    kept.recording.close()
    octets = b"".join(each.read_bytes() for each in tmp_path.iterdir()).lower()
    address = address.lower()
    assert address.encode() not in octets
    assert address.split("@")[0].strip('"').encode() not in octets
    assert b"other@receiver.test" in octets


def test_addresses_with_a_detail_are_not_found_any_more(tmp_path: Path, recorder: Recorder) -> None:
    kept = Kept(tmp_path, recorder)
    kept.session(1, to=("jane+shop@receiver.test", "srs0=a=b=receiver.test=jane@relay.test", "janet@receiver.test"))
    kept.recording.forget(Oblivion("jane@receiver.test"), WAIT)
    assert not kept.traces.search(
        TraceQuery(filter='"jane+shop@receiver.test"'), 0, None, headlines=False, now=NOW
    ).items
    assert not kept.found(filter="srs0=a=b=receiver.test=jane@relay.test")
    assert kept.found(filter="janet@receiver.test")
    kept.recording.close()


def test_log_files_forget_the_one_in_use_too_and_their_pseudonyms(tmp_path: Path, recorder: Recorder) -> None:
    (tmp_path / "relayd.2026-11-20").write_bytes(b"old: <jane@x.test> \xff\r\nold: <john@x.test>\n")
    (tmp_path / "relayd.2026-11-19").write_bytes(b"nobody\n")
    (tmp_path / "other.2026-11-20").write_bytes(b"jane@x.test\n")
    pseudonyms = Pseudonyms(bytes(32))
    tracers = {
        "plain": TracerOptions(type="log"),
        "hidden": TracerOptions(type="log", prefix="hidden", pseudonyms=True),
    }
    log = LogFiles(tracers, tmp_path, recorder.daemon, lambda call: call(), pseudonyms=pseudonyms)
    recorder.stream.subscribe(log)
    queue.QUEUE_MESSAGE(recorder.session, queue_id=1, from_="jane@x.test", to=["john@x.test"])
    log.flush()
    hidden = (tmp_path / "hidden.2026-11-21").read_text()
    assert "jane@" not in hidden
    assert "john@" not in hidden
    assert pseudonyms.of("JANE@x.test") in hidden
    assert log.forget(Oblivion("jane@x.test", pseudonyms.of("jane@x.test")), WAIT) == 3
    queue.QUEUE_MESSAGE(recorder.session, queue_id=2, from_="later@x.test", to=["john@x.test"])
    log.close()
    assert (tmp_path / "relayd.2026-11-20").read_bytes() == b"old: <forgotten> \xff\r\nold: <john@x.test>\n"
    now = (tmp_path / "relayd.2026-11-21").read_text()
    assert "jane" not in now
    assert "later@x.test" in now
    hidden = (tmp_path / "hidden.2026-11-21").read_text()
    assert pseudonyms.of("jane@x.test") not in hidden
    assert pseudonyms.of("john@x.test") in hidden
    assert (tmp_path / "other.2026-11-20").read_bytes() == b"jane@x.test\n"
    assert not list(tmp_path.glob("*.new"))


def test_the_files_of_a_log_are_its_own(tmp_path: Path) -> None:
    for name in (
        "relayd",
        "relayd.old",
        "relayd.2026-11-20",
        "relayd.2026-11-20.001",
        "relayd2.2026-11-20",
        "relayd.x",
    ):
        (tmp_path / name).write_text("")
    (tmp_path / "relayd.2026-11-21").symlink_to("/etc/passwd")
    found = RotatingFile(tmp_path, "relayd", "daily", 0, 0).files()
    assert sorted(each.name for each in found) == ["relayd", "relayd.2026-11-20", "relayd.2026-11-20.001", "relayd.old"]
