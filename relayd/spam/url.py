"""Links: found in text, taken apart, and brought to one writing (RFC 3986, as browsers read it).

What a browser would open is what counts: `hxxp://`, backslashes, blanks within, percent-encoded hosts, addresses as
one number or in hexadecimal, names in front of an `@`.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from urllib.parse import unquote

import idna
import msgspec

MAX_URL = 2000
MAX_URLS = 500

_IN_TEXT = re.compile(
    r"(?:(?:https?|hxxps?|ftp|[hf]tt?ps?)(?::|\[:\])[/\\]{1,3}|(?<![\w@./-])www\d{0,3}(?:\.|\[\.\]))[^\s<>\"'`|{}]{2,2000}",
    re.I,
)
_BARE = re.compile(
    r"(?<![\w@./=:-])(?!www\d{0,3}\.)((?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){1,5}"
    r"(?:com|net|org|info|biz|ru|cn|top|xyz|online|site|shop|club|io|co|us|me|tk|ml|ga|cf|icu|link|live|uk|de|fr|eu))"
    r"(/[^\s<>\"'`|{}]{0,1000}|(?![\w.@-]))",
    re.I,
)
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]{0,20}):")
_TRAILING = ".,;:!?)]}>*_~"
_NUMBER = re.compile(r"0x[0-9a-f]{1,16}|\d{1,20}", re.I)
_EMAIL = re.compile(
    r"(?<![\w.+-])([\w.+-]{1,64}@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){1,8}[a-z]{2,24})(?![\w-])", re.I
)
_LABELS = re.compile(r"[\w-]+(?:\.[\w-]+)*")
_SPECIAL = ("http", "https", "ftp")


class Url(msgspec.Struct, frozen=True):
    """A link.  text: as it was written.  normal: the one writing of it.  host: A-labels, lower case, or an address;
    shown: as people read it.  path: with query and fragment.  is_address: the host is an IP address; is_odd: written
    so that people do not see it is one.  has_user: a name stands before an "@".  is_broken: it cannot be read.
    is_disguised: written so that programs overlook it ("hxxp", "[.]").
    """

    text: str
    scheme: str = ""
    host: str = ""
    shown: str = ""
    path: str = ""
    port: str = ""
    is_address: bool = False
    is_odd: bool = False
    has_user: bool = False
    is_broken: bool = False
    is_disguised: bool = False

    @property
    def normal(self) -> str:
        """The one writing of it."""
        port = f":{self.port}" if self.port else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}{port}{self.path}"


def find_urls(text: str, most: int = MAX_URLS, *, bare: bool = True) -> list[Url]:
    """The links that stand in a text for people.  bare: host names without scheme or "www" too."""
    found: list[Url] = []
    if "://" in text or "www" in text or ":\\" in text or "[" in text or "WWW" in text or ":/" in text:
        for match in _IN_TEXT.finditer(text):
            if len(found) >= most:
                return found
            found.append(parse_url(_trimmed(match[0])))
    for match in _BARE.finditer(text) if bare else ():
        if len(found) >= most:
            break
        found.append(parse_url(_trimmed(match[0])))
    return found


def find_emails(text: str, most: int = 100) -> list[str]:
    """The mail addresses that stand in a text, in lower case, each once."""
    if "@" not in text:
        return []
    found: dict[str, None] = {}
    for match in _EMAIL.finditer(text):
        found[match[1].lower()] = None
        if len(found) >= most:
            break
    return list(found)


def _trimmed(text: str) -> str:
    """Without the punctuation of the sentence around it; a bracket that was opened in it stays."""
    while text and text[-1] in _TRAILING:
        last = text[-1]
        if (last == ")" and "(" in text) or (last == "]" and "[" in text):
            break
        text = text[:-1]
    return text


@lru_cache(2048)
def parse_url(text: str) -> Url:
    """A link taken apart; one without a scheme is http."""
    text = text.strip()[:MAX_URL]
    plain = re.sub(r"[\t\r\n]+", "", text)
    is_disguised = "[.]" in plain or "[:]" in plain or plain[:4].lower() == "hxxp"
    if is_disguised:
        plain = plain.replace("[.]", ".").replace("[:]", ":")
    scheme_match = _SCHEME.match(plain)
    if scheme_match is not None and not plain[scheme_match.end() : scheme_match.end() + 1].isdigit():
        scheme, rest = scheme_match[1].lower(), plain[scheme_match.end() :]
        scheme = {"hxxp": "http", "hxxps": "https", "htp": "http", "htps": "https", "ttp": "http"}.get(scheme, scheme)
    else:
        scheme, rest = "http", "//" + plain.lstrip("/\\")
    if scheme not in _SPECIAL:
        return Url(text, scheme=scheme, path=rest)
    rest = rest.replace("\\", "/").lstrip("/")
    cut = min((place for place in (rest.find("/"), rest.find("?"), rest.find("#")) if place >= 0), default=len(rest))
    authority, path = rest[:cut], rest[cut:]
    user, at, host = authority.rpartition("@")
    host, port = _port(host)
    name, is_address, is_odd = _host(host)
    return Url(
        text,
        scheme=scheme,
        host=name,
        shown=unquote(host) if not host.isascii() else name,
        path=(path if path.startswith("/") else f"/{path}") if path else "/",
        port="" if port in ("", "80", "443") else port,
        is_address=is_address,
        is_odd=is_odd,
        has_user=bool(at) and bool(user),
        is_broken=not name,
        is_disguised=is_disguised,
    )


def _port(host: str) -> tuple[str, str]:
    if host.startswith("["):
        inside, _, rest = host.partition("]")
        return inside + "]", rest.removeprefix(":")
    name, colon, port = host.rpartition(":")
    if colon and (port.isdecimal() or not port):
        return name, port.lstrip("0") if port else ""
    return host, ""


def _host(text: str) -> tuple[str, bool, bool]:
    """(the host, whether it is an address, whether that is hidden); "" for what is none."""
    if text.startswith("["):
        try:
            return str(ipaddress.IPv6Address(text[1:-1])), True, False
        except ValueError:
            return "", False, False
    is_encoded = "%" in text
    host = (unquote(text) if is_encoded else text).rstrip(".").lower()
    if not host or len(host) > 253:
        return "", False, False
    address = _number_address(host)
    if address:
        return address, True, is_encoded or address != host
    if host.isascii():
        labels = host.split(".")
        ok = all(label and len(label) < 64 and label.replace("-", "").replace("_", "").isalnum() for label in labels)
        return (host if ok else ""), False, is_encoded and ok
    try:
        name = idna.encode(host, uts46=True).decode("ascii").lower()
        address = _number_address(name)  # of digits in another script
        return address or name, bool(address), bool(address)
    except (idna.IDNAError, UnicodeError):
        if not _LABELS.fullmatch(host):
            return "", False, False
        name = ".".join(
            label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii") for label in host.split(".")
        )
        return (name if len(name) <= 253 else ""), False, False


def _number_address(host: str) -> str:
    """An IPv4 address in any of its writings (inet_aton), "" for what is none."""
    if not (host[0].isdigit() and host[0].isascii()):
        return ""
    parts = host.split(".")
    if len(parts) > 4:
        return ""
    numbers = []
    for part in parts:
        if not _NUMBER.fullmatch(part):
            return ""
        try:
            numbers.append(
                int(part, 16 if part[:2] in ("0x", "0X") else 8 if part[:1] == "0" and len(part) > 1 else 10)
            )
        except ValueError:
            return ""
    *front, last = numbers
    if any(number > 255 for number in front) or last >= 256 ** (4 - len(front)):
        return ""
    value = last
    for place, number in enumerate(front):
        value += number << (8 * (3 - place))
    return str(ipaddress.IPv4Address(value))
