"""The lists that relayd knows: zones, what they are asked about, and what their answers mean.

None is asked until an operator enables it: each has terms of use, most of them do not answer big resolvers, and a
question tells its owner who sends us mail.
"""

from __future__ import annotations

from collections.abc import Mapping

from relayd.spam.dns_list import DnsList, parse_meaning

_REFUSED = "!127.255.255.254={0}_BLOCKED_OPENRESOLVER !127.255.255.252={0}_BLOCKED !127.255.255.255={0}_BLOCKED"
_SENDERSCORE = " ".join(
    f"127.0.4.{low}-{low + 9 if low < 90 else 100}=RBL_SENDERSCORE_REPUT_{low // 10}" for low in range(0, 100, 10)
)
_BOTS = (
    "1=BOT 2=NA 3=NA_BOT 4=PRST 5=PRST_BOT 6=PRST_NA 7=PRST_NA_BOT 8=SUS_ATT 10=SUS_ATT_NA 11=SUS_ATT_NA_BOT "
    "14=SUS_ATT_PRST_NA 15=SUS_ATT_PRST_NA_BOT 16=SCORE 18=SCORE_NA 20=SCORE_PRST 22=SCORE_PRST_NA 26=SCORE_SUS_ATT_NA"
)

_LISTS: Mapping[str, tuple[str, str, str, str]] = {
    "spamhaus": (
        "zen.spamhaus.org", "client", "",
        "127.0.0.2=RBL_SPAMHAUS_SBL 127.0.0.3=RBL_SPAMHAUS_CSS 127.0.0.4-7=RBL_SPAMHAUS_XBL "
        "127.0.0.9=RBL_SPAMHAUS_DROP 127.0.0.10-11=RBL_SPAMHAUS_PBL " + _REFUSED.format("RBL_SPAMHAUS"),
    ),
    "spamhaus-received": (
        "zen.spamhaus.org", "hops", "",
        "127.0.0.2=RECEIVED_SPAMHAUS_SBL 127.0.0.3=RECEIVED_SPAMHAUS_CSS 127.0.0.4-7=RECEIVED_SPAMHAUS_XBL "
        "127.0.0.9=RECEIVED_SPAMHAUS_DROP 127.0.0.10-11=RECEIVED_SPAMHAUS_PBL "
        + _REFUSED.format("RECEIVED_SPAMHAUS"),
    ),
    "mailspike": (
        "rep.mailspike.net", "client", "",
        "127.0.0.10=RBL_MAILSPIKE_WORST 127.0.0.11=RBL_MAILSPIKE_VERYBAD 127.0.0.12=RBL_MAILSPIKE_BAD "
        "127.0.0.13-16=RWL_MAILSPIKE_NEUTRAL 127.0.0.17=RWL_MAILSPIKE_POSSIBLE 127.0.0.18=RWL_MAILSPIKE_GOOD "
        "127.0.0.19=RWL_MAILSPIKE_VERYGOOD 127.0.0.20=RWL_MAILSPIKE_EXCELLENT",
    ),
    "senderscore": (
        "score.senderscore.com", "client", "", f"{_SENDERSCORE} !127.0.4.255=RBL_SENDERSCORE_REPUT_BLOCKED",
    ),
    "senderscore-bots": (
        "bl.score.senderscore.com", "client", "",
        " ".join(f"127.0.0.{number}=RBL_SENDERSCORE_{name}" for number, _, name in (
            each.partition("=") for each in _BOTS.split()
        )) + " !127.0.0.255=RBL_SENDERSCORE_BLOCKED",
    ),
    "spameatingmonkey": ("bl.spameatingmonkey.net", "client", "", "127.0.0.2-3=RBL_SEM"),
    "virusfree": ("bip.virusfree.cz", "client", "", "127.0.0.2=RBL_VIRUSFREE_BOTNET"),
    "nixspam": ("ix.dnsbl.manitu.net", "client", "", "127.0.0.2=RBL_NIXSPAM"),
    "spamcop": ("bl.spamcop.net", "client", "", "127.0.0.2=RBL_SPAMCOP"),
    "barracuda": ("b.barracudacentral.org", "client", "", "127.0.0.2=RBL_BARRACUDA"),
    "blocklistde": ("bl.blocklist.de", "client", "", "127.0.0.*=RBL_BLOCKLISTDE"),
    "blocklistde-received": ("bl.blocklist.de", "hops", "", "127.0.0.*=RECEIVED_BLOCKLISTDE"),
    "dnswl": (
        "list.dnswl.org", "client", "",
        "127.0.1-254.0=RCVD_IN_DNSWL_NONE 127.0.1-254.1=RCVD_IN_DNSWL_LOW 127.0.1-254.2=RCVD_IN_DNSWL_MED "
        "127.0.1-254.3=RCVD_IN_DNSWL_HI !127.0.*.255=DNSWL_BLOCKED",
    ),
    "dnswl-dkim": (
        "dwl.dnswl.org", "dkim", "",
        "127.0.1-254.0=DWL_DNSWL_NONE 127.0.1-254.1=DWL_DNSWL_LOW 127.0.1-254.2=DWL_DNSWL_MED "
        "127.0.1-254.3=DWL_DNSWL_HI !127.0.*.255=DWL_DNSWL_BLOCKED",
    ),
    "spamhaus-dbl": (
        "dbl.spamhaus.org", "domains", "",
        "127.0.1.2=DBL_SPAM 127.0.1.4=DBL_PHISH 127.0.1.5=DBL_MALWARE 127.0.1.6=DBL_BOTNET 127.0.1.102=DBL_ABUSE "
        "127.0.1.103=DBL_ABUSE_REDIR 127.0.1.104=DBL_ABUSE_PHISH 127.0.1.105=DBL_ABUSE_MALWARE "
        "127.0.1.106=DBL_ABUSE_BOTNET !127.0.1.255=DBL_BLOCKED " + _REFUSED.format("DBL"),
    ),
    "surbl": (
        "multi.surbl.org", "domains", "",
        "127.0.0.&128=CRACKED_SURBL 127.0.0.&64=ABUSE_SURBL 127.0.0.&16=MW_SURBL_MULTI 127.0.0.&8=PH_SURBL_MULTI "
        "!127.0.0.1=SURBL_BLOCKED",
    ),
    "uribl": (
        "multi.uribl.com", "domains", "",
        "127.0.0.&2=URIBL_BLACK 127.0.0.&4=URIBL_GREY 127.0.0.&8=URIBL_RED !127.0.0.1=URIBL_BLOCKED",
    ),
    "spameatingmonkey-uri": ("uribl.spameatingmonkey.net", "domains", "", "127.0.0.2=SEM_URIBL"),
    "spameatingmonkey-fresh": ("fresh15.spameatingmonkey.net", "domains", "", "127.0.0.2=SEM_URIBL_FRESH15"),
    "msbl": ("ebl.msbl.org", "emails", "sha1", "127.0.0.2=MSBL_EBL 127.0.0.3=MSBL_EBL_GREY"),
    "surbl-hash": (
        "hashbl.surbl.org", "urls", "md5",
        "127.0.0.&8=SURBL_HASHBL_PHISH 127.0.0.&16=SURBL_HASHBL_MALWARE 127.0.0.&64=SURBL_HASHBL_ABUSE "
        "127.0.0.&128=SURBL_HASHBL_CRACKED 127.0.1.*=SURBL_HASHBL_EMAIL",
    ),
}  # fmt: skip
"""By id: zone, what it is asked about, hash, answers."""

KNOWN: Mapping[str, DnsList] = {
    id: DnsList(id=id, zone=zone, about=about, hash=hash, meanings=tuple(map(parse_meaning, answers.split())))
    for id, (zone, about, hash, answers) in _LISTS.items()
}
"""The lists by id."""
