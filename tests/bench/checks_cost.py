"""What checks and signatures cost, and the same by Postfix with Debian's opendkim and opendmarc, in one run.

    python -m tests.bench.checks_cost [--messages 2000] [--rounds 3] [--size 4096] [--each]

smtp-source -> MTA -> smtp-sink, as in relay_throughput: 20 sessions that stay open, durable on both sides.  Checked
mail comes from a stranger to a relay domain, with one valid RSA-2048 signature: SPF, DKIM and DMARC, whose answers come
from one name server on this machine.  Signed mail comes from a trusted network and gets an RSA-2048 and an Ed25519
signature.  Before anything is measured, the first message that each one delivers must show its work; it warms the
caches as well.  relayd also looks at reverse DNS and ARC, as it does by default.

Printed for each round: messages a second, and milliseconds of CPU a message, of the MTA with its milters (not of the
name server); at the end the medians, and the median ratios of relayd to the chain.  With --each, relayd's cost of each
check on its own too.  Needs root, Debian's `postfix`, `opendkim`, `opendmarc` and `unbound`, and a quiet machine.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from relayd.mail.header import HeaderBlock, split_message
from relayd.mailauth.canonical import BodyDigests
from relayd.mailauth.dkim_sign import SignatureRule, sign, want_signed
from relayd.mailauth.signing_key import SigningKey, generate_key, read_signing_key, record_name
from tests.bench.relay_throughput import SINK, SOURCE
from tests.rig import milters
from tests.rig.daemon import NO_CHECKS, Daemon
from tests.rig.isolated import NameServer, furnish, isolate, texts
from tests.rig.milters import Milter
from tests.rig.postfix import Postfix, free_port, wait_for_port
from tests.rig.sink import Sink
from tests.rig.usage import cpu_seconds

CLIENT = "192.0.2.1"
NAME_SERVER = "192.0.2.53"
NETWORK = "192.0.2.0/24"
SENDER = "example.org"
RECEIVER = "example.net"
MX = f"mx.{RECEIVER}"
SELECTOR = "rsa"
SHOWN_CHECKS = {rb"\bspf=pass\b", rb"\bdkim=pass\b", rb"\bdmarc=pass\b"}
SHOWN_SIGNATURES = {rb"\ba=rsa-sha256\b", rb"\ba=ed25519-sha256\b"}

RELAYD_CHECKS: dict[str, object] = {**dict.fromkeys(NO_CHECKS, "relaxed"), "auth.id": MX}
STRANGER: dict[str, object] = {"session.rcpt.relay-networks": [], "session.rcpt.relay-domains": [RECEIVER]}
TRUSTED: dict[str, object] = {"session.rcpt.relay-networks": [NETWORK]}


@dataclass
class Mta:
    """What is measured: where it listens, the roots of its processes, and what its mail must show."""

    name: str
    start: Callable[[], tuple[int, list[int]]]
    stop: Callable[[], object]
    sink: int
    mail: Path
    shown: set[bytes]
    port: int = 0
    roots: list[int] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)

    def cpu(self) -> float:
        """CPU seconds so far."""
        return sum(cpu_seconds(root) for root in self.roots)


def postfix(name: str, directory: Path, mail: Path, chain: Sequence[Milter], shown: set[bytes]) -> Mta:
    """Postfix and its milters; a message that they cannot be asked about is refused."""
    sink = free_port()
    trusted = NETWORK if shown != SHOWN_CHECKS else "203.0.113.254"
    settings = {
        "myhostname": MX,
        "inet_interfaces": CLIENT,
        "mynetworks": trusted,
        "relay_domains": RECEIVER,
        "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
        "relayhost": f"[127.0.0.1]:{sink}",
        "in_flow_delay": "0",
        "smtp_connection_cache_destinations": f"[127.0.0.1]:{sink}",
        "smtp_bind_address": "127.0.0.1",
        "smtpd_client_connection_count_limit": "0",
        "smtpd_milters": ", ".join(each.address for each in chain),
        "milter_default_action": "reject",
    }
    mta = Postfix(directory, settings, address=CLIENT)

    def start() -> tuple[int, list[int]]:
        for each in chain:
            each.start()
        mta.start()
        return mta.port, [mta.master_pid, *(each.pid for each in chain)]

    def stop() -> None:
        mta.stop()
        for each in chain:
            each.stop()

    return Mta(name, start, stop, sink, mail, shown)


def relayd(name: str, directory: Path, mail: Path, settings: dict[str, object], shown: set[bytes]) -> Mta:
    """relayd with these settings."""
    sink, port = free_port(), free_port(CLIENT)
    daemon = Daemon(
        directory,
        {
            "server.hostname": MX,
            "server.listener.smtp.bind": [f"{CLIENT}:{port}"],
            "queue.outbound.next-hop": "sink",
            "queue.route.sink.address": "127.0.0.1",
            "queue.route.sink.port": sink,
            **settings,
        },
    )
    return Mta(name, lambda: (port, [daemon.start().pid]), daemon.stop, sink, mail, shown)


def send(mta: Mta, messages: int) -> None:
    """Let smtp-source send so many copies of the MTA's message."""
    subprocess.run(
        [SOURCE, "-d", "-s", str(min(20, messages)), "-m", str(messages), "-M", f"source.{SENDER}", "-F", str(mta.mail),
         "-f", f"bench@{SENDER}", "-t", f"sink@{RECEIVER}", f"{CLIENT}:{mta.port}"],
        check=True, timeout=600,
    )  # fmt: skip


def show_work(mta: Mta) -> None:
    """Have one message delivered, and see what it says; SystemExit where work is missing, as figures are void then."""
    with Sink(port=mta.sink) as sink:
        send(mta, 1)
        header = sink.wait_for(1)[0].content.partition(b"\r\n\r\n")[0]
    added = header.partition(b"X-Bench:")[0]
    missing = [each for each in mta.shown if not re.search(each, added)]
    if missing or (not mta.shown and b"Authentication-Results" in added):
        sys.exit(f"{mta.name} did not do its work ({missing}):\n{header.decode('utf-8', 'replace')}")


def run_once(mta: Mta, messages: int) -> None:
    """Send through `mta` until the sink has all of it; note rate and cost."""
    receiver = subprocess.Popen([SINK, "-u", "postfix", "-M", str(messages), f"127.0.0.1:{mta.sink}", "500"])
    try:
        wait_for_port(mta.sink)
        before, started = mta.cpu(), time.monotonic()
        send(mta, messages)
        receiver.wait(600)
        mta.rates.append(messages / (time.monotonic() - started))
        mta.costs.append((mta.cpu() - before) / messages * 1000)
    finally:
        receiver.kill()
        receiver.wait()


def message(size: int, key: SigningKey | None) -> bytes:
    """A message of about `size` octets, with a signature on top of it when there is a key; LF ends lines."""
    line = b"The quick brown fox jumps over the lazy dog, as in every benchmark of this kind.\r\n"
    head = (
        f"X-Bench: from here on it is as it was sent\r\nFrom: Bench <bench@{SENDER}>\r\nTo: sink@{RECEIVER}\r\n"
        f"Subject: a message\r\nDate: Sat, 21 Nov 2026 09:00:00 +0000\r\nMessage-ID: <1@{SENDER}>\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n"
    ).encode()
    content = line * max(1, (size - len(head)) // len(line))
    fields = b""
    if key:
        body = BodyDigests()
        want_signed(body)
        body.feed(content)
        body.finish()
        rule = SignatureRule(id=SELECTOR, domain=SENDER, selector=SELECTOR)
        fields = sign(HeaderBlock.parse(split_message(head + b"\r\n")[0]), body, [(rule, key)], time.time())
    first, rest = head.split(b"\r\n", 1)
    return b"".join((first, b"\r\n", fields, rest, b"\r\n", content)).replace(b"\r\n", b"\n")


def zones(key: SigningKey) -> dict[str, list[str]]:
    """All that the checks ask for."""
    return {
        SENDER: [
            f"{SENDER}. 3600 IN SOA ns.{SENDER}. hostmaster.{SENDER}. 1 3600 600 86400 3600",
            f"{SENDER}. 3600 IN A 198.51.100.8",
            f"{SENDER}. 3600 IN MX 10 mail.{SENDER}.",
            f'{SENDER}. 3600 IN TXT "v=spf1 mx include:_spf.{SENDER} -all"',
            f'_spf.{SENDER}. 3600 IN TXT "v=spf1 ip4:198.51.100.0/24 ip4:{NETWORK} -all"',
            f"mail.{SENDER}. 3600 IN A 198.51.100.7",
            f"source.{SENDER}. 3600 IN A {CLIENT}",
            f'source.{SENDER}. 3600 IN TXT "v=spf1 a -all"',
            f'_dmarc.{SENDER}. 3600 IN TXT "v=DMARC1; p=reject; adkim=s; aspf=s"',
            f"{record_name(SELECTOR, SENDER)}. 3600 IN TXT {texts(key.record())}",
        ],
        "2.0.192.in-addr.arpa": [f"1.2.0.192.in-addr.arpa. 3600 IN PTR source.{SENDER}."],
        RECEIVER: [f"{RECEIVER}. 3600 IN SOA ns.{RECEIVER}. hostmaster.{RECEIVER}. 1 3600 600 86400 3600"],
    }


def only(*checks: str) -> dict[str, object]:
    """relayd's settings for a stranger with these checks alone."""
    return {**STRANGER, "auth.id": MX, **{each: "relaxed" for each in NO_CHECKS if any(c in each for c in checks)}}


@contextlib.contextmanager
def started(all: Sequence[Mta]) -> Iterator[None]:
    """Each runs, and has shown its work."""
    with contextlib.ExitStack() as stack:
        for mta in all:
            stack.callback(mta.stop)
            mta.port, mta.roots = mta.start()
            show_work(mta)
        yield


def measure(all: Sequence[Mta], messages: int, rounds: int) -> None:
    """Interleave them and print the table."""
    with started(all):
        print(f"{'':<34}" + "".join(f"{n + 1:>17}" for n in range(rounds)) + f"{'median':>17}")
        for _ in range(rounds):
            for mta in all:
                run_once(mta, messages)
        for mta in all:
            pairs = [*zip(mta.rates, mta.costs, strict=True)]
            pairs.append((statistics.median(mta.rates), statistics.median(mta.costs)))
            print(f"{mta.name:<34}" + "".join(f"{rate:>7.0f}/s {cost:>5.2f} ms" for rate, cost in pairs))


def ratio(name: str, ours: Mta, theirs: Mta) -> None:
    """Print the median ratios of two over the rounds."""
    rate = statistics.median(a / b for a, b in zip(ours.rates, theirs.rates, strict=True))
    cost = statistics.median(b / a for a, b in zip(ours.costs, theirs.costs, strict=True))
    print(f"{name}: relayd / Postfix {rate:.2f} in messages a second, {cost:.2f} in messages a CPU second")


def run(messages: int, rounds: int, size: int, each: bool, directory: Path) -> None:
    """Build the parts and measure them."""
    keys = {"rsa": generate_key("rsa"), "ed25519": generate_key("ed25519")}
    theirs = read_signing_key(generate_key("rsa"))
    plain, signed = directory / "plain", directory / "signed"
    plain.write_bytes(message(size, None))
    signed.write_bytes(message(size, theirs))
    signing: dict[str, object] = dict(TRUSTED)
    for family, pem in keys.items():
        signing[f"signature.{family}.private-key"] = pem
        signing[f"signature.{family}.domain"] = SENDER
        signing[f"signature.{family}.selector"] = family
    verifiers = milters.verifying(directory / "verifying", MX, NAME_SERVER)
    signers = milters.signing(directory / "signing", SENDER, keys, NETWORK)
    with NameServer(directory / "dns", NAME_SERVER, zones(theirs)):
        all = [
            postfix("Postfix", directory / "postfix", plain, [], set()),
            relayd("relayd", directory / "relayd", plain, TRUSTED, set()),
            postfix("Postfix, checks", directory / "postfix-checks", signed, verifiers, SHOWN_CHECKS),
            relayd("relayd, checks", directory / "checks", signed, {**STRANGER, **RELAYD_CHECKS}, SHOWN_CHECKS),
            postfix("Postfix, signing", directory / "postfix-signing", plain, signers, SHOWN_SIGNATURES),
            relayd("relayd, signing", directory / "signs", plain, signing, SHOWN_SIGNATURES),
        ]
        measure(all, messages, rounds)
        ratio("nothing", all[1], all[0])
        ratio("checks", all[3], all[2])
        ratio("signing", all[5], all[4])
        if each:
            measure(
                [
                    relayd("stranger, no checks", directory / "none", signed, only(), set()),
                    relayd("SPF of both names", directory / "spf", signed, only("spf"), {rb"\bspf=pass\b"}),
                    relayd("DKIM", directory / "dkim", signed, only("dkim"), {rb"\bdkim=pass\b"}),
                    relayd("SPF, DKIM, DMARC", directory / "dmarc", signed, only("spf", "dkim", "dmarc"), SHOWN_CHECKS),
                    relayd("reverse DNS", directory / "iprev", signed, only("iprev"), {rb"\biprev=pass\b"}),
                    relayd("ARC (no chain)", directory / "arc", signed, only("arc"), {rb"\barc=none\b"}),
                ],
                messages,
                rounds,
            )


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--each", action="store_true")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("Postfix's master and the namespaces need root")
    isolate("tests.bench.checks_cost")
    with tempfile.TemporaryDirectory(prefix="relayd-bench-") as name:
        furnish([CLIENT, NAME_SERVER], NAME_SERVER, Path(name))
        run(arguments.messages, arguments.rounds, arguments.size, arguments.each, Path(name))


if __name__ == "__main__":
    main()
