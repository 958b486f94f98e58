"""Tags that follow from others."""

from __future__ import annotations

from collections.abc import Callable

from relayd.spam.tag import Tags

Has = Callable[..., bool]

_LISTED = (
    "RECEIVED_SPAMHAUS_PBL",
    "RECEIVED_SPAMHAUS_XBL",
    "RECEIVED_SPAMHAUS_SBL",
    "RECEIVED_BLOCKLISTDE",
)
_PHISHED = ("PHISHING", "DBL_PHISH", "PHISHED_OPENPHISH", "PHISHED_PHISHTANK")
_PHP = ("X_HDR_X_PHP_ORIGINATING_SCRIPT", "HAS_PHPMAILER_SIG", "X_HDR_X_PHP_SCRIPT")
_EMOTION = ("SUBJECT_ENDS_QUESTION", "SUBJECT_ENDS_EXCLAIM")
_AUTH_SILENT = ("DKIM_NA", "SPF_NA", "DMARC_NA", "ARC_NA")

# A rule stands behind those whose tags it asks for.
_RULES: tuple[tuple[str, str, Callable[[Has], bool]], ...] = (
    (
        "FREEMAIL_REPLY_TO_NEQ_FROM_DOM",
        "answers go to a free provider, From is elsewhere",
        lambda has: has("FREEMAIL_REPLY_TO") and has("REPLYTO_DOM_NEQ_FROM_DOM"),
    ),
    (
        "HTML_SHORT_LINK_IMG_1",
        "little but an image that is a link",
        lambda has: has("HAS_LINK_TO_LARGE_IMG") and has("HTML_SHORT_1"),
    ),
    (
        "SHORT_PART_BAD_HEADERS",
        "one short part under a header without what every message has",
        lambda has: has("MISSING_ESSENTIAL_HEADERS") and has("SINGLE_SHORT_PART"),
    ),
    (
        "FORGED_RECIPIENTS_MAILLIST",
        "recipients not in the header, as lists do",
        lambda has: has("FORGED_RECIPIENTS") and has("MAILLIST"),
    ),
    (
        "FORGED_SENDER_MAILLIST",
        "another return path, as lists do",
        lambda has: has("FORGED_SENDER") and has("MAILLIST"),
    ),
    (
        "DMARC_POLICY_ALLOW_WITH_FAILURES",
        "DMARC passes, SPF or DKIM do not",
        lambda has: has("DMARC_POLICY_ALLOW") and has("SPF_SOFTFAIL", "SPF_FAIL", "DKIM_REJECT"),
    ),
    ("AUTH_NA", "nobody vouches for the sender", lambda has: all(map(has, _AUTH_SILENT))),
    (
        "AUTH_NA_OR_FAIL",
        "nobody vouches for the sender, or it could not be found out",
        lambda has: (
            not all(map(has, _AUTH_SILENT))
            and has("DKIM_NA", "DKIM_TEMPFAIL", "DKIM_PERMFAIL")
            and has("SPF_NA", "SPF_DNSFAIL")
            and has("DMARC_NA")
            and has("ARC_NA", "ARC_DNSFAIL")
        ),
    ),
    (
        "BOUNCE",
        "a bounce",
        lambda has: has("FROM_BOUNCE") and has("IS_DSN", "HAS_MESSAGE_PARTS", "SUBJ_BOUNCE_WORDS"),
    ),
    (
        "BOUNCE_NO_AUTH",
        "a bounce for which nobody vouches",
        lambda has: has("AUTH_NA", "AUTH_NA_OR_FAIL") and has("BOUNCE", "SUBJ_BOUNCE_WORDS"),
    ),
    (
        "HACKED_WP_PHISHING",
        "sent by a script of a web site, with links into one that was broken into",
        lambda has: (
            has("X_HDR_X_PHP_ORIGINATING_SCRIPT", "HAS_PHPMAILER_SIG")
            and has("HAS_WP_URI", "WP_COMPROMISED")
            and has(*_PHISHED, "CRACKED_SURBL", "PH_SURBL_MULTI", "DBL_ABUSE_PHISH", "URIBL_BLACK")
        ),
    ),
    (
        "COMPROMISED_ACCT_BULK",
        "bulk mail by somebody who signed in",
        lambda has: has("X_HDR_X_ORIGINATING_IP", "RCVD_VIA_SMTP_AUTH") and has("DCC_BULK"),
    ),
    (
        "UNDISC_RCPTS_BULK",
        "bulk mail to undisclosed recipients",
        lambda has: has("DCC_BULK") and has("MISSING_TO", "UNDISC_RCPT"),
    ),
    (
        "RCVD_UNAUTH_PBL",
        "it came from a dial-up without signing in",
        lambda has: has("RECEIVED_SPAMHAUS_PBL") and not has("RCVD_VIA_SMTP_AUTH"),
    ),
    (
        "RCVD_DKIM_ARC_DNSWL_MED",
        "signed, from a host of medium trust",
        lambda has: has("DKIM_ALLOW", "ARC_ALLOW") and has("RCVD_IN_DNSWL_MED"),
    ),
    (
        "RCVD_DKIM_ARC_DNSWL_HI",
        "signed, from a host of high trust",
        lambda has: has("DKIM_ALLOW", "ARC_ALLOW") and has("RCVD_IN_DNSWL_HI"),
    ),
    ("AUTOGEN_PHP_SPAMMY", "a script of a web site that shouts", lambda has: has(*_PHP) and has(*_EMOTION)),
    ("PHISH_EMOTION", "phishing that shouts", lambda has: has(*_PHISHED) and has(*_EMOTION)),
    (
        "HAS_ANON_DOMAIN",
        "a link through somebody who hides where it leads",
        lambda has: has("HAS_GUC_PROXY_URI", "URIBL_RED", "DBL_ABUSE_REDIR", "HAS_ONION_URI"),
    ),
    (
        "VIOLATED_DIRECT_SPF",
        "SPF fails, and nobody forwarded it",
        lambda has: has("SPF_FAIL", "SPF_SOFTFAIL") and has("RCVD_COUNT_ZERO", "RCVD_NO_TLS_LAST"),
    ),
    (
        "FREEMAIL_AFF",
        "a free provider, undisclosed recipients and a title: advance fee fraud",
        lambda has: (
            has("FREEMAIL_FROM", "FREEMAIL_ENV_FROM", "FREEMAIL_REPLY_TO")
            and has("TO_DN_RECIPIENTS", "UNDISC_RCPT")
            and has("FROM_NAME_HAS_TITLE", "FREEMAIL_REPLY_TO_NEQ_FROM_DOM")
        ),
    ),
    (
        "REDIRECTOR_URL_ONLY",
        "the content is one link that leads on",
        lambda has: has("URL_ONLY") and has("REDIRECTOR_URL"),
    ),
    (
        "THREAD_HIJACKING_FROM_INJECTOR",
        "a reply to nothing by somebody who signed in",
        lambda has: (
            has("FAKE_REPLY")
            and has("RCVD_VIA_SMTP_AUTH")
            and (not has("RECEIVED_SPAMHAUS_PBL") or has("RECEIVED_SPAMHAUS_XBL", "RECEIVED_SPAMHAUS_SBL"))
        ),
    ),
    ("DKIM_SIGNED", "there is a DKIM signature", lambda has: has("X_HDR_DKIM_SIGNATURE")),
    ("ARC_SIGNED", "there is an ARC seal", lambda has: has("X_HDR_ARC_SEAL")),
    (
        "SUSPICIOUS_MDN",
        "receipts go to a free provider, From is elsewhere",
        lambda has: has("FREEMAIL_DNT", "DISPOSABLE_DNT") and not has("FREEMAIL_FROM", "FREEMAIL_ENV_FROM"),
    ),
    (
        "SUSPICIOUS_AUTH_ORIGIN",
        "signed in from a listed address",
        lambda has: has("X_HDR_X_ORIGINATING_IP", "RCVD_VIA_SMTP_AUTH") and has(*_LISTED),
    ),
    (
        "ABUSE_FROM_INJECTOR",
        "signed in from a listed address, with signs of abuse",
        lambda has: (
            has("SUSPICIOUS_AUTH_ORIGIN")
            and has("RCVD_HELO_USER", "FAKE_REPLY", "HAS_IPFS_GATEWAY_URL", "HTML_SHORT_LINK_IMG_1")
        ),
    ),
    (
        "MIME_BAD_EXT_WITH_BAD_UNICODE",
        "a file that runs, with a name that hides it",
        lambda has: has("MIME_BAD_EXTENSION") and has("MIME_BAD_UNICODE"),
    ),
    (
        "SEO_SPAM",
        "search engine optimisation for sale",
        lambda has: has("HAS_SEO_WORD") and has("RCPT_DOMAIN_IN_BODY", "RCPT_IN_BODY", "FREEMAIL_FROM"),
    ),
    (
        "DIRECT_TO_MX",
        "a mail program that talks to us itself",
        lambda has: (
            has("RCVD_COUNT_ZERO") and not has("RCVD_VIA_SMTP_AUTH") and has("X_HDR_USER_AGENT", "X_HDR_X_MAILER")
        ),
    ),
    (
        "HTML_SHORT_LINK_IMG_2",
        "little but an image that is a link",
        lambda has: has("HAS_LINK_TO_LARGE_IMG") and has("HTML_SHORT_2"),
    ),
    (
        "HTML_SHORT_LINK_IMG_3",
        "little but an image that is a link",
        lambda has: has("HAS_LINK_TO_LARGE_IMG") and has("HTML_SHORT_3"),
    ),
    (
        "RCPT_DOMAIN_IN_MESSAGE",
        "Subject and content name the recipient",
        lambda has: has("RCPT_DOMAIN_IN_SUBJECT") and has("RCPT_DOMAIN_IN_BODY", "RCPT_IN_BODY"),
    ),
)

_REPLACED = (("FORGED_RECIPIENTS_MAILLIST", "FORGED_RECIPIENTS"), ("FORGED_SENDER_MAILLIST", "FORGED_SENDER"))
"""A tag takes the place of another: what is right for a list is not held against it."""


def add_composites(tags: Tags) -> None:
    """Set what follows from the tags that are set, in the order of the rules."""
    names = tags.names

    def has(*wanted: str) -> bool:
        return any(name in names for name in wanted)

    for name, reason, holds in _RULES:
        if holds(has):
            tags.add(name, reason)
    for instead, replaced in _REPLACED:
        if instead in names:
            tags.remove(replaced)
