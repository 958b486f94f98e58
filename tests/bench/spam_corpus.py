"""How much spam is caught and how much wanted mail is taken for it, on a labelled corpus.

    python -m tests.bench.spam_corpus [DIRECTORY] [--swap] [--train DIRECTORY] [--wrong] [--tags]

The directory holds folders of messages; one whose name contains "ham" is wanted mail, "spam" is spam, "hard" is told
apart.  The model learns one half (every other message, in the order of names) and is tried on the other; with --train
it learns the whole of another corpus instead, with --swap the halves change places.  --wrong names what was judged
wrongly, with its tags; --tags shows how often each tag was set on either kind.

No network: tags of RDNS, HELO, FROMHOST, SPF, DKIM, DMARC, ARC, AUTH and RBL count 0.  The clock stands at the newest
Received or Date of the message, the return path is that of its `From ` line or Return-Path, the recipients those of
Delivered-To, else of To and Cc.  A message is spam from a score of 5.0 on.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from relayd.mail.header import HeaderBlock
from relayd.mailauth.findings import Findings
from relayd.mailauth.orgdomain import SuffixList
from relayd.spam.bayes import Learnt, Model
from relayd.spam.facts import Facts, Scanned
from relayd.spam.mailbox import read_mailboxes
from relayd.spam.ruleset import Ruleset, read_ruleset
from relayd.spam.scan import Scanner
from relayd.spam.score import Score, Thresholds
from relayd.spam.scoring import Limits, all_tags, bayes_tags
from relayd.spam.tokens import numbers_of
from relayd.spam.trace import read_date
from relayd.spam.verdict import Verdict, judge, weigh

CONF = Path(__file__).parents[2] / "conf" / "spam.toml"
CORPUS = Path(__file__).parents[3] / "shared" / "suites" / "spam" / "corpus"
NETWORK = ("RDNS", "HELO", "FROMHOST", "SPF", "DKIM", "DMARC", "ARC", "AUTH", "RBL")


@dataclass(frozen=True, slots=True)
class Labelled:
    """A message of the corpus, scanned."""

    path: Path
    is_spam: bool
    is_hard: bool
    scanned: Scanned
    facts: Facts


def facts_of(content: bytes) -> Facts:
    """Envelope and clock as they can be read from the message itself."""
    line = content.split(b"\n", 1)[0] if content.startswith(b"From ") else b""
    header = content.partition(b"\n\n")[0].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    block = HeaderBlock.parse(header)
    times = [read_date(value.rpartition(b";")[2]) for value in block.get("Received")]
    times.append(read_date(block.first("Date") or b""))
    recipients = [each for value in block.get("Delivered-To") for each in read_mailboxes(value)]
    if not recipients:
        values = [*block.get("To"), *block.get("Cc")]
        recipients = [each for value in values for each in read_mailboxes(value)]
    words = line.split()
    path = words[1] if len(words) > 1 else b""
    if not path:
        found = read_mailboxes(block.first("Return-Path") or b"")
        path = found[0].address.encode() if found and found[0].domain else b""
    return Facts(
        return_path=path.decode("ascii", "replace").strip("<>"),
        recipients=tuple(dict.fromkeys(each.address for each in recipients if each.domain)),
        now=max((when for when in times if when is not None), default=0.0),
        is_8bit=True,
    )


def scanner_of(ruleset: Ruleset) -> Scanner:
    """The scanner of the delivered rules."""
    return Scanner(ruleset, lru_cache(65536)(SuffixList().registrable))


def scan_corpus(directory: Path, scanner: Scanner) -> list[Labelled]:
    """Every message of a corpus."""
    found = []
    for folder in sorted(each for each in directory.iterdir() if each.is_dir()):
        is_spam = "spam" in folder.name
        if not is_spam and "ham" not in folder.name:
            continue
        for path in sorted(folder.iterdir()):
            content = path.read_bytes()
            facts = facts_of(content)
            found.append(Labelled(path, is_spam, "hard" in folder.name, scanner.scan(content, facts), facts))
    return found


def learn(messages: Iterable[Labelled]) -> Model:
    """A model of messages, in memory."""
    model = Model(Learnt(), {})
    spam = ham = 0
    for each in messages:
        model.change(numbers_of(each.scanned.tokens), spam=each.is_spam, by=1, most=1 << 30)
        spam, ham = spam + each.is_spam, ham + (not each.is_spam)
    model.learnt = Learnt(spam, ham)
    return model


def verdict_of(message: Labelled, model: Model, ruleset: Ruleset, scores: Mapping[str, Score]) -> Verdict:
    """The verdict about a message, as reception would have it without the network."""
    others = bayes_tags(model.estimate(numbers_of(message.scanned.tokens)), Limits())
    tags = all_tags(message.scanned, Findings(), message.facts, ruleset.lists, others)
    return judge(weigh(tags, scores), Thresholds())


def offline_scores(ruleset: Ruleset) -> dict[str, Score]:
    """The scores without those of the network."""
    return {tag: 0.0 if _is_network(tag) else score for tag, score in ruleset.scores.items()}


def _is_network(tag: str) -> bool:
    if tag in ("ALLOWLIST_DMARC", "BLOCKLIST_DMARC", "VIOLATED_DIRECT_SPF", "BOUNCE_NO_AUTH"):
        return True
    return tag.split("_")[0] in NETWORK


def share(part: int, whole: int) -> str:
    """A share in percent."""
    return f"{100 * part / whole:.2f} %" if whole else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description="Spam caught and wanted mail lost on a labelled corpus.")
    parser.add_argument("directory", nargs="?", type=Path, default=CORPUS)
    parser.add_argument("--train", type=Path, help="learn the whole of this corpus instead of one half")
    parser.add_argument("--swap", action="store_true", help="learn the second half, try the first")
    parser.add_argument("--wrong", action="store_true", help="name what was judged wrongly")
    parser.add_argument("--tags", action="store_true", help="count the tags")
    arguments = parser.parse_args()
    ruleset = read_ruleset(CONF.read_text("utf-8"))
    scanner = scanner_of(ruleset)
    messages = scan_corpus(arguments.directory, scanner)
    if not messages:
        sys.exit(f"{arguments.directory}: no folder with ham or spam in its name")
    if arguments.train is not None:
        learnt, tried = scan_corpus(arguments.train, scanner), messages
    else:
        halves = messages[::2], messages[1::2]
        learnt, tried = reversed(halves) if arguments.swap else halves
    report(learnt, tried, ruleset, arguments)


def report(learnt: list[Labelled], tried: list[Labelled], ruleset: Ruleset, arguments: argparse.Namespace) -> None:
    """Judge, count and print."""
    model = learn(learnt)
    scores = offline_scores(ruleset)
    matrix: Counter[tuple[str, bool]] = Counter()
    tags: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    for each in tried:
        verdict = verdict_of(each, model, ruleset, scores)
        kind = "spam" if each.is_spam else "hard ham" if each.is_hard else "easy ham"
        matrix[kind, verdict.is_spam] += 1
        tags[each.is_spam].update(weighed.tag.name for weighed in verdict.tags)
        if arguments.wrong and verdict.is_spam != each.is_spam:
            shown = " ".join(f"{one.tag.name}({one.score:g})" for one in verdict.tags if one.score)
            print(f"{each.path.parent.name}/{each.path.name} {verdict.score:.1f} {shown}")
    if arguments.tags:
        for tag in sorted({*tags[True], *tags[False]}, key=lambda tag: -tags[False][tag]):
            if scores.get(tag):
                print(f"{tag:32} {scores[tag]:>6} spam {tags[True][tag]:5} ham {tags[False][tag]:5}")
    print(f"learnt {len(learnt)} messages, tried {len(tried)}")
    print(f"{'':10} {'as ham':>8} {'as spam':>8}")
    for kind in ("easy ham", "hard ham", "spam"):
        print(f"{kind:10} {matrix[kind, False]:8} {matrix[kind, True]:8}")
    ham = sum(matrix[kind, way] for kind in ("easy ham", "hard ham") for way in (True, False))
    wrong = matrix["easy ham", True] + matrix["hard ham", True]
    spam = matrix["spam", True] + matrix["spam", False]
    print(f"false positives {share(wrong, ham)}, spam caught {share(matrix['spam', True], spam)}")


if __name__ == "__main__":
    main()
