"""Recipients of relay domains are known before their 250."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from relayd.mail.reply import Reply
from relayd.options import OptionError
from relayd.reception.known import FILE_CHECK_INTERVAL, KnownTable, Verdict
from relayd.reception.policy import Policy
from tests.reception.house import House, options, outcome

DOMAIN = {"relay-domains": ["here.example", "there.example"]}
GOOD = Reply(250, "2.1.5", "ok")
BAD = Reply(550, "5.1.1", "no such user")


async def offer(rig: House, address: str, trusted: bool = False) -> tuple[int, str]:
    client = await (rig.trusted() if trusted else rig.stranger())
    return outcome(await rig.rcpt(await rig.begin(client), address))


def house(tmp_path: Path, known: dict[str, Any] | None = None, **given: Any) -> House:
    return House(tmp_path, rcpt=DOMAIN, known={"1": {"domains": ["here.example"], **known}} if known else {}, **given)


async def test_a_list_of_names_and_addresses(tmp_path: Path) -> None:
    rig = house(tmp_path, {"check": "list", "list": ["Info", "b@here.example", "c@there.example", "m n"]})
    assert await offer(rig, "INFO@here.example") == (250, "2.1.5")
    assert await offer(rig, '"info"@here.example') == (250, "2.1.5")
    assert await offer(rig, "b@here.example") == (250, "2.1.5")
    assert await offer(rig, "c@here.example") == (550, "5.1.1")
    assert await offer(rig, "nobody@here.example", trusted=True) == (550, "5.1.1")
    assert rig.facts("smtp.mailbox-does-not-exist") == [{"to": "c@here.example"}, {"to": "nobody@here.example"}]
    assert rig.prober.asked == []


async def test_an_extension_is_cut_off_where_it_is_configured(tmp_path: Path) -> None:
    rig = house(tmp_path, {"check": "list", "list": ["info"], "delimiter": "+-"})
    assert await offer(rig, "info+news@here.example") == (250, "2.1.5")
    assert await offer(rig, "info-a+b@here.example") == (250, "2.1.5")
    assert await offer(rig, "+info@here.example") == (550, "5.1.1")


async def test_a_file_is_read_anew_when_it_changes_and_looked_at_only_now_and_then(tmp_path: Path) -> None:
    names = tmp_path / "names"
    names.write_text("# people\nb@here.example OK\n\ninfo # all\n")
    rig = house(tmp_path, {"check": "file", "file": str(names)})
    assert await offer(rig, "b@here.example") == (250, "2.1.5")
    assert await offer(rig, "info@here.example") == (250, "2.1.5")
    assert await offer(rig, "OK@here.example") == (550, "5.1.1")
    names.write_text("c@here.example\n")
    assert await offer(rig, "c@here.example") == (550, "5.1.1")
    rig.now += FILE_CHECK_INTERVAL
    assert await offer(rig, "c@here.example") == (250, "2.1.5")
    assert await offer(rig, "b@here.example") == (550, "5.1.1")


async def test_a_file_that_cannot_be_read_makes_recipients_unknown_not_refused(tmp_path: Path) -> None:
    names = tmp_path / "names"
    rig = house(tmp_path, {"check": "file", "file": str(names)})
    assert await offer(rig, "b@here.example") == (451, "4.4.3")
    names.write_text("b\n")
    assert await offer(rig, "b@here.example") == (250, "2.1.5")
    names.unlink()
    rig.now += FILE_CHECK_INTERVAL
    assert await offer(rig, "b@here.example") == (250, "2.1.5")
    assert await offer(rig, "c@here.example") == (550, "5.1.1")


async def test_any_takes_every_name(tmp_path: Path) -> None:
    assert await offer(house(tmp_path, {"check": "any"}), "whoever@here.example") == (250, "2.1.5")


async def test_a_domain_without_a_record_is_probed_and_the_answers_are_remembered(tmp_path: Path) -> None:
    rig = house(tmp_path)
    rig.prober.answers = {"b@there.example": GOOD, "c@there.example": BAD}
    for _ in range(3):
        assert await offer(rig, "b@there.example") == (250, "2.1.5")
        assert await offer(rig, "c@there.example") == (550, "5.1.1")
        assert await offer(rig, "B@there.example") == (250, "2.1.5")
    assert rig.prober.asked == ["b@there.example", "c@there.example"]
    rig.now += 3601
    assert await offer(rig, "c@there.example") == (550, "5.1.1")
    assert await offer(rig, "b@there.example") == (250, "2.1.5")
    assert rig.prober.asked[2:] == ["c@there.example"]
    rig.now += 8 * 86400
    assert await offer(rig, "b@there.example") == (250, "2.1.5")
    assert rig.prober.asked[3:] == ["b@there.example"]


async def test_what_cannot_be_asked_is_deferred_for_strangers_and_taken_from_trusted_clients(tmp_path: Path) -> None:
    rig = house(tmp_path)
    assert await offer(rig, "b@here.example") == (451, "4.4.3")
    rig.prober.answers["b@here.example"] = Reply(450, "4.2.0", "greylisted")
    assert await offer(rig, "b@here.example") == (451, "4.4.3")
    rig.prober.answers["b@here.example"] = Reply(552, "5.2.2", "full")
    assert await offer(rig, "b@here.example") == (451, "4.4.3")
    assert await offer(rig, "b@here.example", trusted=True) == (250, "2.1.5")
    assert len(rig.prober.asked) == 4


async def test_an_old_good_answer_counts_while_the_next_hop_cannot_be_asked(tmp_path: Path) -> None:
    rig = house(tmp_path)
    rig.prober.answers["b@here.example"] = GOOD
    await offer(rig, "b@here.example")
    rig.now += 30 * 86400
    del rig.prober.answers["b@here.example"]
    assert await offer(rig, "b@here.example") == (250, "2.1.5")
    rig.prober.answers["b@here.example"] = BAD
    assert await offer(rig, "b@here.example") == (550, "5.1.1")


async def test_a_refusal_for_another_reason_keeps_its_code(tmp_path: Path) -> None:
    rig = house(tmp_path)
    rig.prober.answers["b@here.example"] = Reply(554, "5.7.1", "blocked")
    assert await offer(rig, "b@here.example") == (550, "5.7.1")


async def test_the_caches_are_bounded_and_bad_names_push_out_no_good_one(tmp_path: Path) -> None:
    rig = house(tmp_path, probe={"cache": 2})
    rig.prober.answers = {"good@here.example": GOOD, **{f"{n}@here.example": BAD for n in range(5)}}
    await offer(rig, "good@here.example")
    for number in range(5):
        await offer(rig, f"{number}@here.example")
    asked = len(rig.prober.asked)
    await offer(rig, "good@here.example")
    await offer(rig, "4@here.example")
    assert len(rig.prober.asked) == asked
    await offer(rig, "0@here.example")
    assert len(rig.prober.asked) == asked + 1
    rig.reception.reconfigure(Policy(options(rcpt=DOMAIN, probe={"cache": 1})))
    await offer(rig, "1@here.example")
    assert (len(rig.reception.probes._good), len(rig.reception.probes._bad)) == (1, 1)


class SlowProber:
    def __init__(self) -> None:
        self.asked = 0
        self.started = asyncio.Event()
        self.answer = asyncio.Event()

    async def probe(self, address: str) -> Reply | None:
        self.asked += 1
        self.started.set()
        await self.answer.wait()
        return GOOD


async def test_sessions_that_ask_at_once_share_a_probe_and_the_number_of_probes_is_bounded(tmp_path: Path) -> None:
    rig = house(tmp_path, probe={"concurrency": 1})
    prober = SlowProber()
    rig.reception.probes._prober = prober
    first = asyncio.create_task(rig.reception.probes.ask("b@here.example"))
    second = asyncio.create_task(rig.reception.probes.ask("b@here.example"))
    await prober.started.wait()
    assert await rig.reception.probes.ask("c@here.example") == (Verdict.UNKNOWN, None)
    first.cancel()
    prober.answer.set()
    assert await second == (Verdict.GOOD, GOOD)
    assert prober.asked == 1
    await rig.reception.close()


async def test_a_probe_that_takes_too_long_is_an_unknown_answer(tmp_path: Path) -> None:
    rig = house(tmp_path, probe={"timeout": "1ms"})
    rig.reception.probes._prober = SlowProber()
    assert await offer(rig, "b@here.example") == (451, "4.4.3")


async def test_a_prober_that_fails_is_an_unknown_answer(tmp_path: Path) -> None:
    class Broken:
        async def probe(self, address: str) -> Reply | None:
            raise ValueError("a bug")

    rig = house(tmp_path)
    rig.reception.probes._prober = Broken()
    assert await offer(rig, "b@here.example") == (451, "4.4.3")


async def test_close_ends_the_probes_under_way(tmp_path: Path) -> None:
    rig = house(tmp_path)
    prober = SlowProber()
    rig.reception.probes._prober = prober
    asking = asyncio.create_task(rig.reception.probes.ask("b@here.example"))
    await prober.started.wait()
    await rig.reception.close()
    assert await asking == (Verdict.UNKNOWN, None)


def test_check_file_without_a_file_is_refused() -> None:
    with pytest.raises(OptionError, match="needs a file"):
        KnownTable(options(known={"1": {"check": "file"}}).known)


async def test_a_file_of_hundreds_of_megabytes_is_refused(tmp_path: Path) -> None:
    names = tmp_path / "names"
    names.touch()
    os.truncate(names, 65 << 20)
    assert await offer(house(tmp_path, {"check": "file", "file": str(names)}), "b@here.example") == (451, "4.4.3")
