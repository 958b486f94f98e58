"""Spam scoring (control-api family `spam`)."""

from __future__ import annotations

from relayd.events.event import EventKind, Level

CLASSIFY = EventKind(
    "spam.classify",
    Level.DEBUG,
    "Message scored",
    "The message was scored",
    "queue_id result score policy tags elapsed reason",
)
CLASSIFY_ERROR = EventKind(
    "spam.classify-error", Level.DEBUG, "Scoring failed", "A part of scoring failed; the rest counts", "queue_id reason"
)
VERDICT = EventKind(
    "spam.verdict",
    Level.INFO,
    "Verdict of spam scoring",
    "More is done with the message than to tag it",
    "queue_id score policy reason to",
)
UNSCANNABLE = EventKind(
    "spam.unscannable",
    Level.WARN,
    "Message cannot be scanned",
    "The scan of the message went over its limits; it is deferred, and held when it comes again and again",
    "queue_id reason times policy",
)
WORKER_ENDED = EventKind(
    "spam.worker-ended", Level.WARN, "Scanning worker ended", "A worker process ended and is replaced", "pid reason"
)
TRAIN = EventKind(
    "spam.train", Level.DEBUG, "Learnt", "A message was learnt or forgotten", "account_name result total queue_id"
)
TRAIN_BALANCE = EventKind(
    "spam.train-balance",
    Level.DEBUG,
    "Not learnt: unbalanced",
    "One kind is over its share of what was learnt; the message was not learnt",
    "account_name result queue_id",
)
TRAIN_ERROR = EventKind("spam.train-error", Level.WARN, "Learning failed", "A message could not be learnt", "reason")
RULES_UPDATED = EventKind(
    "spam.rules-updated", Level.INFO, "Spam rules replaced", "Another set of rules is in force", "version previous"
)
RULES_BROKEN = EventKind(
    "spam.rules-broken",
    Level.ERROR,
    "Spam rules not read",
    "Rules that an update brought cannot be read any more; the delivered ones are in force",
    "reason",
)
GEO_FILE_ERROR = EventKind(
    "spam.geo-file-error",
    Level.WARN,
    "File of networks or countries not read",
    "A file of networks or countries that was replaced cannot be read; the one before counts on",
    "reason",
)
DNSBL = EventKind(
    "spam.dnsbl",
    Level.DEBUG,
    "Lists asked",
    "Lists in the DNS were asked about a message",
    "queue_id total details elapsed",
)
DNSBL_ERROR = EventKind(
    "spam.dnsbl-error",
    Level.WARN,
    "List does not answer",
    "A list in the DNS gave no answer, or will not answer us; it counts for nothing",
    "queue_id id reason",
)
