"""What is read out of a message: links, pages, names of hosts, kinds of files, rules."""

from __future__ import annotations

import pytest

from relayd.spam.filetype import contradicts, extensions, true_type, zip_names
from relayd.spam.html import read_page
from relayd.spam.lookalike import imitates, mixes_scripts, shown
from relayd.spam.mailbox import read_mailboxes
from relayd.spam.message import MAX_PARTS, read
from relayd.spam.ruleset import RulesetError, read_ruleset
from relayd.spam.tokens import words_of
from relayd.spam.url import find_emails, find_urls, parse_url


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("HTTPS://User@EXAMPLE.com:443", "https://example.com/"),
        ("http://3232235777/x", "http://192.168.1.1/x"),
        ("http://0xC0.0250.1.1:8080/", "http://192.168.1.1:8080/"),
        ("hxxp://evil[.]com/a", "http://evil.com/a"),
        ("http:\\\\x.com\\y", "http://x.com/y"),
        ("http://a%2ecom/", "http://a.com/"),
        ("www.x.org", "http://www.x.org/"),
        ("http://[::1]/", "http://[::1]/"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://１９２.168.1.１/", "http://192.168.1.1/"),
    ],
)
def test_a_link_has_one_writing(text: str, normal: str) -> None:
    assert parse_url(text).normal == normal


def test_links_in_text_lose_the_sentence_around_them() -> None:
    found = find_urls("see (http://a.com/x), or www.b.org! or c.net/d. Not a@e.com nor http:/")
    assert [each.host for each in found] == ["a.com", "www.b.org", "c.net"]
    assert find_emails("Write to Joe@A.com, joe@a.com or <x@b.example>.") == ["joe@a.com", "x@b.example"]


@pytest.mark.parametrize("text", ["http://", "http://x..y/", "http://" + "a" * 300, "http://[zz]/"])
def test_a_link_that_cannot_be_read(text: str) -> None:
    assert parse_url(text).is_broken


def test_a_page_shows_its_words_and_hides_others() -> None:
    page = read_page(
        "<title>T</title><style>p{}</style><p>a&amp;b<br>c</p><div style='display:none'>x<div>y</div></div>"
        '<a href="http://h/">go <img src=i.png width=10px></a><!-- no --><script>var z</script>'
    )
    assert page.text.split() == ["a&b", "c", "go"]
    assert page.hidden.split() == ["x", "y"]
    assert (page.title, page.comments, page.has_script) == ("T", 1, True)
    assert [(link.url, link.text, link.has_image) for link in page.links] == [("http://h/", "go", True)]
    assert page.images == [("i.png", 10, 0)]


def test_hosts_that_look_like_others() -> None:
    assert imitates("раураӏ.com", {"paypal.com"}) == "paypal.com"
    assert imitates("www.раураӏ.com", {"paypal.com"}) == "paypal.com"
    assert not imitates("paypal.com", {"paypal.com"})
    known = {"paypal.com", "amazon.com", "google.com", "x.com"}
    for host in ("paypa1.com", "www.arnazon.com", "login.g00gle.com"):
        assert imitates(host, known) in known, host
    for host in ("www1.paypal.com", "modern.com", "1x.com", "barn.amazon.com", "0.x.com", "10.0.0.1"):
        assert not imitates(host, known), host
    assert not imitates("bücher.example", {"paypal.com"})
    assert shown("xn--80ak6aa92e.com") == "аррӏе.com"
    assert mixes_scripts("рaypal")
    assert not mixes_scripts("日本shop")


def test_files_by_their_octets_and_names() -> None:
    assert true_type(b"%PDF-1.4") == "application/pdf"
    assert contradicts("image/png", b"MZ\x90\0") == "application/x-msdownload"
    assert not contradicts("application/vnd.openxmlformats-officedocument.wordprocessingml.document", b"PK\x03\x04")
    assert not contradicts("application/octet-stream", b"MZ")
    assert extensions("a.tar.GZ ") == ["gz", "tar"]
    assert zip_names(b"PK\x03\x04" + b"\0" * 22 + b"\x05\x00\x00\x00a.exe...") == ["a.exe"]


def test_mailboxes_as_people_write_them() -> None:
    found = read_mailboxes(b'"Doe, J." <j@x.org>, a@b.c (Ann), =?utf-8?q?J=C3=B6?= <k@x>, group: l@m.n;, nobody')
    assert [(each.name, each.key) for each in found] == [
        ("Doe, J.", "j@x.org"), ("Ann", "a@b.c"), ("Jö", "k@x"), ("", "l@m.n"), ("", "nobody"),
    ]  # fmt: skip


def test_words_of_many_scripts() -> None:
    assert words_of("Don't PAY $5.99 now!!! 漢字語", 20) == ["don't", "pay", "$0.00", "now", "!!!", "漢字", "字語"]


def test_parts_are_bounded_and_said_to_be() -> None:
    content = b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 600
    message = read(content)
    assert len(message.parts) <= MAX_PARTS
    assert "parts" in message.partial


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("version", "no TOML"),
        ("", "version"),
        ('version="1"\nx=1', "x: unknown"),
        ('version="1"\n[thresholds]\ntag=1', "thresholds.tag: unknown"),
        ('version="1"\n[thresholds]\nhold="reject"', "thresholds.hold: expected a number"),
        ('version="1"\n[scores.a]\nlower=1', "no tag"),
        ('version="1"\n[scores.a]\nTAG="perhaps"', "expected a number"),
        ('version="1"\n[rules.a]\npattern=""', "pattern: is required"),
        ('version="1"\n[rules.a]\npattern="x"\nscope="nowhere"', "scope"),
        ('version="1"\n[lists]\nfreemail=1', "expected a list"),
    ],
)
def test_rules_that_are_none(text: str, problem: str) -> None:
    with pytest.raises(RulesetError, match=problem):
        read_ruleset(text)
