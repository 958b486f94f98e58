"""Rules on the links of the content: where they lead, how they are disguised, what they claim to be."""

from __future__ import annotations

import re

from relayd.spam.lookalike import has_zero_width, imitates, mixes_scripts, shown
from relayd.spam.url import Url, find_urls
from relayd.spam.view import Linked, View

_WORD = re.compile(r"\w{2,}")
_SEO = re.compile(r"\bSEO\b")
_LOOKS_LIKE_HOST = re.compile(r"\A\s*(?:https?://)?[\w-]+(?:\.[\w-]+)+(?:[/?#:]\S*)?\s*\Z", re.I)


def look_at_links(view: View) -> None:
    """Every link once for each rule, then what the content is beside them."""
    for link in view.links:
        _look_at_link(view, link)
    _look_at_whole(view)


def _look_at_link(view: View, link: Linked) -> None:
    tags, url = view.tags, link.url
    if has_zero_width(url.text):
        tags.add("ZERO_WIDTH_SPACE_URL", "a link with characters of no width", url.text)
    if url.is_broken:
        tags.add("UNPARSABLE_URL", "a link that cannot be read", url.text)
        return
    if url.is_address:
        tags.add("SUSPICIOUS_URL", "a link to an address, not to a name", url.text)
        if link.place == "html" and link.anchor:
            tags.add("HTTP_TO_IP", "words that link to an address", url.text)
    elif url.is_odd or (url.has_user and link.place != "image"):
        tags.add("SUSPICIOUS_URL", "a link that hides where it leads", url.text)
    if url.is_disguised:
        tags.add("URL_DISGUISED", "a link written so that programs overlook it", url.text)
    _look_at_host(view, url)
    _look_at_path(view, url)
    if link.place == "html" and link.anchor:
        _compare_anchor(view, link)


def _look_at_host(view: View, url: Url) -> None:
    tags, host = view.tags, url.host
    if host in view.lists.redirectors or host.removeprefix("www.") in view.lists.redirectors:
        tags.add("REDIRECTOR_URL", "a link that leads on to another", url.text)
    name = shown(host)
    if name != host and any(mixes_scripts(label) for label in name.split(".")):
        tags.add("MIXED_CHARSET_URL", "a host in several scripts", name)
    alike = imitates(name, view.lists.imitated)
    if alike:
        tags.add("HOMOGRAPH_URL", f"a host that looks like {alike}", name)
    if host.endswith(".onion"):
        tags.add("HAS_ONION_URI", "a link into the Tor network", url.text)


def _look_at_path(view: View, url: Url) -> None:
    tags, host, path = view.tags, url.host, url.path
    lower = path.lower()
    if "/../" in path and "/well-known" not in path and "/well_known" not in path:
        tags.add("URI_HIDDEN_PATH", "a link with /../ in its path", url.text)
    if host.endswith("googleusercontent.com") and path.startswith("/proxy/"):
        tags.add("HAS_GUC_PROXY_URI", "a link through Google's image proxy", url.text)
    elif host.endswith("firebasestorage.googleapis.com"):
        tags.add("HAS_GOOGLE_FIREBASE_URL", "a link to Firebase storage", url.text)
    elif "url?" in path and (view.registrable(host) or "").startswith("google."):
        tags.add("HAS_GOOGLE_REDIR", "a link through Google", url.text)
    if ("ipfs." in host or "/ipfs" in lower) and "/qm" in lower:
        tags.add("HAS_IPFS_GATEWAY_URL", "a link through an IPFS gateway", url.text)
    if path.startswith(("/wp-content", "/wp-includes")):
        tags.add("WP_COMPROMISED", "a link into the insides of WordPress", url.text)
    if path.startswith("/wp-"):
        tags.add("HAS_WP_URI", "a link into WordPress", url.text)


def _compare_anchor(view: View, link: Linked) -> None:
    """Words that name one host and lead to another."""
    if not _LOOKS_LIKE_HOST.match(link.anchor):
        return
    named = next(iter(find_urls(link.anchor if "//" in link.anchor else f"http://{link.anchor.strip()}", 1)), None)
    if named is None or not named.host or "." not in named.host:
        return
    if named.scheme == "https" and link.url.scheme == "http" and link.anchor.strip().lower().startswith("https"):
        view.tags.add("HTTP_TO_HTTPS", "the words say https, the link is http", f"{link.anchor} -> {link.url.text}")
    is_name = named.is_address or view.registrable(named.host) is not None
    is_senders = view.related(link.url.host, view.author.domain) or view.related(link.url.host, view.sender.domain)
    if is_name and not is_senders and not view.related(named.host, link.url.host):
        view.tags.add("PHISHING", "the words name another host than the link", f"{link.anchor} -> {link.url.text}")


def _look_at_whole(view: View) -> None:
    """What there is beside links, and whom the content names."""
    tags = view.tags
    words = view.words
    hosts = {link.url.normal for link in view.links if link.place != "image" and link.place != "subject"}
    if len(hosts) == 1 and len(words) < 4000:
        rest = words
        for link in view.links:
            rest = rest.replace(link.url.text, " ")
        if len(_WORD.findall(rest)) <= 1:
            tags.add("URL_ONLY", "the content is one link", next(iter(hosts)))
    lower = words.lower()
    for each in view.recipients or view.to:
        if each.domain and each.key in lower:
            tags.add("RCPT_IN_BODY", "the content names the recipient's address", each.key)
        elif each.domain and each.domain in lower:
            tags.add("RCPT_DOMAIN_IN_BODY", "the content names the recipient's domain", each.domain)
    if _SEO.search(words) or _SEO.search(view.subject):
        tags.add("HAS_SEO_WORD", "the word SEO")
