"""Each rule on the message that it is for, and silent on good mail."""

from __future__ import annotations

import pytest

from tests.spam.house import GOOD, names, scan, with_body, with_field

LONG = b"See you at noon, as we said yesterday on the telephone, at the usual place.\n"


def html(source: bytes) -> bytes:
    return with_body(source, content_type=b"text/html; charset=utf-8")


def mixed(*parts: bytes, kind: bytes = b"mixed") -> bytes:
    body = b"".join(b"--b\n" + part + b"\n" for part in parts) + b"--b--\n"
    return with_body(body, content_type=b"multipart/" + kind + b"; boundary=b")


def attached(name: bytes, octets: bytes = b"x", kind: bytes = b"application/octet-stream") -> bytes:
    text = b"Content-Type: text/plain\n\n" + LONG
    return mixed(
        text, b"Content-Type: " + kind + b'\nContent-Disposition: attachment; filename="' + name + b'"\n\n' + octets
    )


CASES: dict[str, bytes] = {
    # the header as a whole
    "X_HDR_FROM": GOOD + b"\n" + LONG,
    "MULTIPLE_UNIQUE_HEADERS": GOOD + b"Subject: again\n\n" + LONG,
    "HEADER_EMPTY_DELIMITER": with_field(b"Subject:Lunch"),
    "MISSING_ESSENTIAL_HEADERS": b"X-Nothing: 1\n\n" + LONG,
    "SINGLE_SHORT_PART": GOOD + b"\nhi\n",
    "COMPLETELY_EMPTY": GOOD + b"\n\n",
    "MAILLIST": GOOD + b"List-Id: <l.a.example>\nList-Unsubscribe: <mailto:x@a.example>\nPrecedence: list\n\n" + LONG,
    "HAS_LIST_UNSUB": with_field(b"List-Unsubscribe: <mailto:x@a.example>"),
    "PRECEDENCE_BULK": with_field(b"Precedence: bulk"),
    "HAS_X_PRIO_ONE": with_field(b"X-Priority: 1 (Highest)"),
    "SPAM_FLAG": with_field(b"X-Spam-Flag: YES"),
    "KLMS_SPAM": with_field(b"X-KLMS-AntiSpam-Status: spam"),
    "UNITEDINTERNET_SPAM": with_field(b"X-UI-Filterresults: junk:10;"),
    "XM_CASE": with_field(b"X-mailer: Foo 1"),
    "XM_UA_NO_VERSION": with_field(b"X-Mailer: Foo"),
    "HAS_PHPMAILER_SIG": with_field(b"X-Mailer: PHPMailer 5.2"),
    "HIDDEN_SOURCE_OBJ": with_field(b"X-PHP-Originating-Script: ../../a.php"),
    "X_PHP_EVAL": with_field(b"X-PHP-Script: a.php : eval()'d code eval()"),
    "HAS_X_AS": with_field(b"X-Authenticated-Sender: host: joe"),
    "HAS_X_GMSV": with_field(b"X-Get-Message-Sender-Via: h: authenticated_id: joe"),
    # the road
    "RCVD_COUNT_ZERO": GOOD + b"\n" + LONG,
    "RCVD_COUNT_TWO": GOOD + b"Received: from a.example by b.example\nReceived: from c.example by a.example\n\n" + LONG,
    "RCVD_ILLEGAL_CHARS": with_field("Received: from ä by b.example".encode()),
    "RCVD_HELO_USER": with_field(b"Received: from User (unknown [192.0.2.1]) by b.example"),
    "RCVD_DOUBLE_IP_SPAM": GOOD
    + b"Received: from 8.8.8.8 (h [8.8.8.8]) by b.example\nReceived: from [8.8.4.4] by b.example\n\n"
    + LONG,
    "FORGED_RCVD_TRAIL": with_field(
        b"Received: from mx.bank.example.com (dial.pool.example.net [192.0.2.1]) by b.example"
    ),
    "PREVIOUSLY_DELIVERED": with_field(b"Received: from a.example by c.example for <bob@b.example>; x"),
    "MISSING_MID": GOOD.replace(b"Message-ID", b"X-Message-ID") + b"\n" + LONG,
    "INVALID_MSGID": with_field(b"Message-ID: <nothing>"),
    "MID_MISSING_BRACKETS": with_field(b"Message-ID: 1@a.example"),
    "MID_BARE_IP": with_field(b"Message-ID: <1@192.0.2.1>"),
    "MID_RHS_IP_LITERAL": with_field(b"Message-ID: <1@[192.0.2.1]>"),
    "MID_RHS_NOT_FQDN": with_field(b"Message-ID: <1@host>"),
    "MID_RHS_WWW": with_field(b"Message-ID: <1@www.a.example>"),
    "MID_CONTAINS_FROM": with_field(b"Message-ID: <1.ann@a.example>"),
    "MID_RHS_MATCH_FROM": with_field(b"Message-ID: <1@a.example>"),
    "MID_CONTAINS_TO": with_field(b"Message-ID: <1.bob@b.example>"),
    "MID_RHS_MATCH_TO": with_field(b"Message-ID: <1@b.example>"),
    "MISSING_DATE": GOOD.replace(b"Date:", b"X-Date:") + b"\n" + LONG,
    "INVALID_DATE": with_field(b"Date: yesterday"),
    "DATE_IN_PAST": with_field(b"Date: Tue, 14 Nov 2022 22:00:00 +0000"),
    "DATE_IN_FUTURE": with_field(b"Date: Tue, 14 Nov 2024 22:00:00 +0000"),
    # senders
    "MISSING_FROM": GOOD.replace(b"From:", b"X-From:") + b"\n" + LONG,
    "MULTIPLE_FROM": GOOD + b"From: <x@a.example>\n\n" + LONG,
    "FROM_INVALID": with_field(b"From: nobody"),
    "FROM_NO_DN": with_field(b"From: ann@a.example"),
    "FROM_HAS_DN": GOOD + b"\n" + LONG,
    "FROM_DN_EQ_ADDR": with_field(b'From: "ann@a.example" <ann@a.example>'),
    "FROM_NEQ_DISPLAY_NAME": with_field(b'From: "joe@a.example" <ann@a.example>'),
    "SPOOF_DISPLAY_NAME": with_field(b'From: "security@bank.com" <ann@a.example>'),
    "FROM_EQ_ENV_FROM": GOOD + b"\n" + LONG,
    "FROM_NEQ_ENV_FROM": with_field(b"From: joe@elsewhere.com"),
    "FORGED_SENDER": with_field(b"From: joe@elsewhere.com"),
    "INVALID_FROM_8BIT": with_field(b"From: J\xf6 <ann@a.example>"),
    "FROM_NEEDS_ENCODING": with_field("From: Jö <ann@a.example>".encode()),
    "FROM_EXCESS_QP": with_field(b"From: =?utf-8?q?Ann?= <ann@a.example>"),
    "FROM_EXCESS_BASE64": with_field(b"From: =?utf-8?b?QW5u?= <ann@a.example>"),
    "NO_SPACE_IN_FROM": with_field(b"From: Ann<ann@a.example>"),
    "FROM_NAME_EXCESS_SPACE": with_field(b"From: A  nn <ann@a.example>"),
    "FROM_NAME_HAS_TITLE": with_field(b"From: Dr. Ann <ann@a.example>"),
    "FROM_SERVICE_ACCT": with_field(b"From: www-data@a.example"),
    "TAGGED_FROM": with_field(b"From: ann+x@a.example"),
    "WWW_DOT_DOMAIN": with_field(b"From: ann@www.a.example"),
    "HEADER_RCONFIRM_MISMATCH": with_field(b"X-Confirm-Reading-To: x@c.example"),
    "HEADER_FORGED_MDN": with_field(b"Disposition-Notification-To: x@c.example"),
    "HAS_REPLYTO": with_field(b"Reply-To: ann@a.example"),
    "REPLYTO_UNPARSABLE": with_field(b"Reply-To: nobody"),
    "REPLYTO_EQ_FROM": with_field(b"Reply-To: Ann <ann@a.example>"),
    "REPLYTO_DOM_NEQ_FROM_DOM": with_field(b"Reply-To: x@gmail.com"),
    "FREEMAIL_REPLY_TO": with_field(b"Reply-To: x@gmail.com"),
    "REPLYTO_DN_EQ_FROM_DN": with_field(b"Reply-To: Ann <x@c.com>"),
    "REPLYTO_EQ_TO_ADDR": with_field(b"Reply-To: bob@b.example"),
    "SPOOF_REPLYTO": with_field(b"From: boss@b.example").replace(b"Lunch\n", b"Lunch\nReply-To: x@evil.com\n"),
    "REPLYTO_EMAIL_HAS_TITLE": with_field(b"Reply-To: Mrs. X <x@c.com>"),
    "FREEMAIL_FROM": with_field(b"From: a@gmail.com"),
    "FREEMAIL_TO": with_field(b"To: a@gmail.com"),
    "FREEMAIL_CC": with_field(b"Cc: a@gmail.com"),
    "DISPOSABLE_FROM": with_field(b"From: a@mailinator.com"),
    "DISPOSABLE_TO": with_field(b"To: a@mailinator.com"),
    # recipients and subject
    "MISSING_TO": GOOD.replace(b"To:", b"X-To:") + b"\n" + LONG,
    "UNDISC_RCPT": with_field(b"To: undisclosed-recipients:;"),
    "RCPT_COUNT_ZERO": with_field(b"To: undisclosed-recipients:;"),
    "RCPT_COUNT_ONE": GOOD + b"\n" + LONG,
    "RCPT_COUNT_GT_50": with_field(b"To: " + b", ".join(b"u%d@b.example" % number for number in range(60))),
    "SORTED_RECIPS": with_field(b"To: " + b", ".join(b"%ca@b.example" % letter for letter in b"abcdefg")),
    "SUSPICIOUS_RECIPS": with_field(b"To: " + b", ".join(b"johnny%d@b.example" % number for number in (5, 3, 1, 2, 4))),
    "TO_DN_NONE": with_field(b"To: bob@b.example"),
    "TO_DN_ALL": GOOD + b"\n" + LONG,
    "TO_DN_SOME": with_field(b"To: bob@b.example, C <c@c.example>"),
    "TO_DN_RECIPIENTS": with_field(b"To: Recipients <bob@b.example>"),
    "TO_MATCH_ENVRCPT_ALL": GOOD + b"\n" + LONG,
    "TO_MATCH_ENVRCPT_SOME": with_field(b"To: bob@b.example, c@c.example"),
    "FORGED_RECIPIENTS": with_field(b"To: c@c.example"),
    "TO_WRAPPED_IN_SPACES": with_field(b"To: Bob < bob@b.example >"),
    "TAGGED_RCPT": with_field(b"To: bob+x@b.example"),
    "TO_EQ_FROM": with_field(b"To: ann@a.example"),
    "TO_DOM_EQ_FROM_DOM": with_field(b"To: joe@a.example"),
    "INFO_TO_INFO_LU": with_field(b"From: info@a.example")
    .replace(b"Bob <bob@", b"<info@")
    .replace(b"Subject", b"List-Unsubscribe: <http://x.example/>\nSubject"),
    "RCPT_IN_SUBJECT": with_field(b"Subject: for bob@b.example"),
    "RCPT_DOMAIN_IN_SUBJECT": with_field(b"Subject: b.example is yours"),
    "MISSING_SUBJECT": GOOD.replace(b"Subject:", b"X-Subject:") + b"\n" + LONG,
    "EMPTY_SUBJECT": with_field(b"Subject: "),
    "SUBJ_ALL_CAPS": with_field(b"Subject: BUY THIS NOW"),
    "LONG_SUBJ": with_field(b"Subject: " + b"long " * 50 + b"x"),
    "SUBJECT_HAS_CURRENCY": with_field(b"Subject: only $5"),
    "SUBJECT_ENDS_SPACES": with_field(b"Subject: well  "),
    "SUBJECT_ENDS_EXCLAIM": with_field(b"Subject: now!"),
    "SUBJECT_ENDS_QUESTION": with_field(b"Subject: now?"),
    "SUBJECT_HAS_EXCLAIM": with_field(b"Subject: now! or never"),
    "SUBJECT_HAS_QUESTION": with_field(b"Subject: now? or never"),
    "SUBJECT_NEEDS_ENCODING": with_field("Subject: Grüße".encode()),
    "SUBJ_EXCESS_QP": with_field(b"Subject: =?utf-8?q?plain?="),
    "SUBJ_EXCESS_BASE64": with_field(b"Subject: =?utf-8?b?cGxhaW4=?="),
    "SUBJ_BOUNCE_WORDS": with_field(b"Subject: Undeliverable: x"),
    "URL_IN_SUBJECT": with_field(b"Subject: see http://evil.com/x"),
    "FAKE_REPLY": with_field(b"Subject: Re: what we said"),
    # links
    "REDIRECTOR_URL": with_body(b"See https://bit.ly/abc for more of what we said yesterday on the telephone\n"),
    "URL_ONLY": with_body(b"http://evil.com/x\n"),
    "SUSPICIOUS_URL": with_body(b"see http://3232235777/x there it is\n"),
    "ZERO_WIDTH_SPACE_URL": with_body("see http://ev\u200bil.com/ there\n".encode()),
    "HOMOGRAPH_URL": with_body("see http://раураӏ.com/ there\n".encode()),
    "MIXED_CHARSET_URL": with_body("see http://рaypal.com/ there\n".encode()),
    "URI_HIDDEN_PATH": with_body(b"see http://h.com/a/../b there\n"),
    "HAS_GUC_PROXY_URI": with_body(b"see https://ci3.googleusercontent.com/proxy/abc there\n"),
    "HAS_GOOGLE_FIREBASE_URL": with_body(b"see https://firebasestorage.googleapis.com/v0/b/x there\n"),
    "HAS_GOOGLE_REDIR": with_body(b"see https://www.google.com/url?q=x there\n"),
    "HAS_IPFS_GATEWAY_URL": with_body(b"see https://ipfs.io/ipfs/QmXoypiz there\n"),
    "HAS_ONION_URI": with_body(b"see http://abc.onion/ there\n"),
    "HAS_WP_URI": with_body(b"see http://h.com/wp-login.php there\n"),
    "WP_COMPROMISED": with_body(b"see http://h.com/wp-content/x.html there\n"),
    "URL_DISGUISED": with_body(b"see hxxp://evil[.]com/x there\n"),
    "PHISHING": html(b'<a href="http://evil.com/">www.bank.com</a>'),
    "HTTP_TO_HTTPS": html(b'<a href="http://bank.com/">https://bank.com/</a>'),
    "HTTP_TO_IP": html(b'<a href="http://8.8.8.8/">our bank</a>'),
    "RCPT_IN_BODY": with_body(b"Dear bob@b.example, see you at noon, as we said yesterday\n"),
    "RCPT_DOMAIN_IN_BODY": with_body(b"Dear people of b.example, see you at noon, as we said\n"),
    "HAS_SEO_WORD": with_body(b"We do SEO for you, at a price that you will like very much indeed\n"),
    # parts and pages
    "MISSING_MIME_VERSION": GOOD.replace(b"MIME-Version: 1.0\n", b"") + b"\n" + LONG,
    "MIME_HEADER_CTYPE_ONLY": GOOD.replace(b"MIME-Version: 1.0\n", b"") + b"\n" + LONG,
    "MV_CASE": GOOD.replace(b"MIME-Version", b"mime-version") + b"\n" + LONG,
    "CTE_CASE": with_field(b"Content-Transfer-Encoding: 7BIT"),
    "CT_EXTRA_SEMI": with_field(b"Content-Type: text/plain; charset=utf-8;"),
    "BROKEN_CONTENT_TYPE": with_field(b"Content-Type: nonsense"),
    "CTYPE_MIXED_BOGUS": mixed(b"Content-Type: text/plain\n\n" + LONG),
    "CTYPE_MISSING_DISPOSITION": mixed(
        b"Content-Type: text/plain\n\nx", b"Content-Type: application/octet-stream\n\nx"
    ),
    "BAD_CTE_7BIT": with_field(b"Content-Transfer-Encoding: 7bit", body="Grüße\n".encode()),
    "MIME_BASE64_TEXT": with_field(b"Content-Transfer-Encoding: base64", body=b"R3LDvMOfZQ==\n"),
    "MIME_BASE64_TEXT_BOGUS": with_field(b"Content-Transfer-Encoding: base64", body=b"cGxhaW4=\n"),
    "MISSING_CHARSET": with_body("Grüße\n".encode(), content_type=b"text/plain"),
    "MIXED_CHARSET": with_body("Dear pаypal customer, thank you\n".encode()),
    "MIME_MA_MISSING_TEXT": mixed(b"Content-Type: text/html\n\n<p>hi", kind=b"alternative"),
    "MIME_MA_MISSING_HTML": mixed(b"Content-Type: text/plain\n\nhi", kind=b"alternative"),
    "PARTS_DIFFER": mixed(
        b"Content-Type: text/plain\n\nsome words that nobody needs because they are other ones altogether\n",
        b"Content-Type: text/html\n\n<p>cheap watches pills loans casino free money click below today</p>\n",
        kind=b"alternative",
    ),
    "MIME_HTML_ONLY": html(b"<p>hello there"),
    "HAS_ATTACHMENT": attached(b"a.bin"),
    "MIME_GOOD": attached(b"a.png", b"\x89PNG\r\n\x1a\n", b"image/png"),
    "MIME_BAD": attached(b"a.png", b"MZ\x90", b"image/png"),
    "MIME_BAD_ATTACHMENT": attached(b"a.pdf", b"x", b"image/png"),
    "MIME_BAD_EXTENSION": attached(b"a.exe"),
    "MIME_DOUBLE_BAD_EXTENSION": attached(b"invoice.pdf.exe"),
    "MIME_ARCHIVE_IN_ARCHIVE": attached(b"a.zip.rar"),
    "MIME_BAD_UNICODE": attached("a\u202efdp.exe".encode()),
    "ENCRYPTED_PGP": mixed(b"Content-Type: application/pgp-encrypted\n\nVersion: 1", kind=b"encrypted"),
    "BOGUS_ENCRYPTED_AND_TEXT": mixed(
        b"Content-Type: multipart/encrypted; boundary=c\n\n--c\nContent-Type: application/pgp-encrypted\n\nx\n--c--\n",
        b"Content-Type: text/plain\n\nread me\n",
    ),
    "SIGNED_PGP": with_body(
        b"--b\n\nx\n--b--\n", content_type=b'multipart/signed; boundary=b; protocol="application/pgp-signature"'
    ),
    "SIGNED_SMIME": with_body(
        b"--b\n\nx\n--b--\n", content_type=b'multipart/signed; boundary=b; protocol="application/pkcs7-signature"'
    ),
    "HTML_META_REFRESH_URL": html(b'<meta http-equiv="refresh" content="0; url=http://evil.com/">'),
    "HTML_UNBALANCED_TAG": html(b"<body><p>hello"),
    "HTML_TEXT_IMG_RATIO": html(b'hello there <img src="http://h.com/a.png" width=600 height=800>'),
    "HAS_EXTERNAL_IMG": html(b'hello <img src="http://h.com/a.png">'),
    "HAS_LINK_TO_LARGE_IMG": html(b'<a href="http://h.com/"><img src="http://h.com/a.png" width=600 height=800></a>'),
    "EXT_CSS": html(b'<link rel="stylesheet" href="http://h.com/a.css">'),
    "HAS_DATA_URI": html(b'<img src="data:image/png;base64,AA">'),
    "DATA_URI_OBFU": html(b'<a href="data:text/html;base64,AAAA">x</a>'),
    "BODY_URI_ONLY": html(b'<a href="http://evil.com/">http://evil.com/</a>'),
    "HTML_FORM": html(b'<form action="http://evil.com/"><input name=password></form>'),
    "HTML_SCRIPT": html(b"<script>alert(1)</script>"),
    "HTML_HIDDEN_TEXT": html(
        b'<p>buy</p><div style="display:none">' + b"wanted words of a good book " * 20 + b"</div>"
    ),
    "GTUBE": with_body(b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\n"),
}


@pytest.mark.parametrize("tag", CASES)
def test_rule_sets_its_tag(tag: str) -> None:
    found = next((each for each in scan(CASES[tag]).tags if each.name == tag), None)
    assert found is not None
    assert found.reason


def test_good_mail_has_nothing_held_against_it() -> None:
    found = names(scan(GOOD + b"\n" + LONG))
    harmless = {"RCVD_COUNT_ZERO", "RCPT_COUNT_ONE", "RCVD_TLS_LAST", "FROM_HAS_DN", "FROM_EQ_ENV_FROM", "TO_DN_ALL"}
    harmless |= {"TO_MATCH_ENVRCPT_ALL", "FROMTLD_EQ_ENV_FROMTLD", "MID_RHS_MATCH_FROMTLD", "MID_RHS_MATCH_ENV_FROMTLD"}
    assert {name for name in found if not name.startswith("X_HDR_")} <= harmless


SESSIONS: list[tuple[dict[str, object], str]] = [
    ({"helo": "192.0.2.1"}, "HELO_BAREIP"),
    ({"helo": "host"}, "HELO_NOT_FQDN"),
    ({"helo": "User"}, "RCVD_HELO_USER"),
    ({"is_tls": False}, "RCVD_NO_TLS_LAST"),
    ({"account": "joe"}, "RCVD_VIA_SMTP_AUTH"),
    ({"return_path": ""}, "FROM_BOUNCE"),
    ({"return_path": "nobody"}, "ENV_FROM_INVALID"),
    ({"return_path": "x@gmail.com"}, "FREEMAIL_ENV_FROM"),
    ({"return_path": "", "recipients": ("a@b.example", "c@b.example")}, "RCPT_BOUNCEMOREONE"),
]


@pytest.mark.parametrize(("facts", "tag"), SESSIONS)
def test_facts_of_the_session_set_tags(facts: dict[str, object], tag: str) -> None:
    assert tag in names(scan(GOOD + b"\n" + LONG, **facts))


@pytest.mark.parametrize(
    ("tag", "content"),
    [
        ("PHISHING", html(b'<a href="http://click.a.example/x">www.bank.com</a>')),  # a tracker of the sender's own
        ("PHISHING", html(b'<a href="http://shop.bank.com/">www.bank.com</a>')),
        (
            "MIME_HTML_ONLY",
            mixed(b"Content-Type: text/html\n\n<p>x", b"Content-Type: text/calendar\n\nx", kind=b"alternative"),
        ),
        ("MIME_DOUBLE_BAD_EXTENSION", attached(b"v1.2.exe")),
        ("FAKE_REPLY", with_field(b"In-Reply-To: <1@x.example>").replace(b"Lunch", b"Re: Lunch")),
        ("SPAM_FLAG", with_field(b"X-Spam-Status: No, tests=NOT_SPAM")),
        ("FORGED_SENDER", GOOD + b"\n" + LONG),
    ],
)
def test_rule_keeps_silent(tag: str, content: bytes) -> None:
    assert tag not in names(scan(content))


def test_evidence_shows_the_text_of_the_message_without_controls() -> None:
    tag = next(each for each in scan(with_field(b"Subject: BUY\x07 THIS NOW")).tags if each.name == "SUBJ_ALL_CAPS")
    assert tag.evidence == "BUY  THIS NOW"


def test_what_others_may_be_asked_about() -> None:
    scanned = scan(
        with_field(
            b"Received: from x.example (x.example [192.0.2.7]) by y.example",
            body=b"see HTTP://Evil.COM:80/a, write to joe@c.com\n",
        )
    )
    assert scanned.urls == ("http://evil.com/a",)
    assert scanned.hosts == ("evil.com",)
    assert scanned.emails == ("ann@a.example", "joe@c.com")
    assert scanned.hops == ("192.0.2.7",)
    assert scanned.from_domain == "a.example"
