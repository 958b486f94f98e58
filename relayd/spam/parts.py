"""Rules on how a message is put together: MIME fields, parts, attachments."""

from __future__ import annotations

import re

from relayd.spam.filetype import contradicts, extensions, true_type, zip_names
from relayd.spam.lookalike import has_obscured, scripts_of
from relayd.spam.message import Part
from relayd.spam.view import View

_MIME_FIELDS = ("content-type", "content-transfer-encoding", "content-disposition", "content-id", "content-description")
_TYPE = re.compile(rb"\s*[!#-'*+\-.0-9A-Z^-~]+/[!#-'*+\-.0-9A-Z^-~]+\s*(?:;|\Z)", re.I)
_SHORT = 64
_PACKED_WELL = frozenset(("htm", "html", "iso", "cab", "jar", "img"))
"""Files that are packed for good reasons."""
_SEVEN = frozenset(("", "7bit"))
_BLANK = re.compile(r"\s+")
_MIXED_LOOKED_AT = 4000


def look_at_parts(view: View) -> None:
    """The message's own fields, then every part."""
    _look_at_fields(view)
    for part in view.message.parts:
        _look_at_part(view, part)
        if part.is_attachment and not part.is_container:
            _look_at_attachment(view, part)
    _look_at_whole(view)
    _look_at_alternatives(view)


def _look_at_fields(view: View) -> None:
    tags, named = view.tags, view.header.named
    seen = [name for name in _MIME_FIELDS if name in named]
    version = view.header.first("mime-version")
    if version is None:
        if seen:
            tags.add("MISSING_MIME_VERSION", "MIME fields without MIME-Version")
        if seen == ["content-type"]:
            tags.add("MIME_HEADER_CTYPE_ONLY", "Content-Type is the only MIME field")
    elif version.name not in ("MIME-Version", "Mime-Version"):
        tags.add("MV_CASE", "MIME-Version is spelled otherwise", version.name)


def _look_at_part(view: View, part: Part) -> None:
    tags, header = view.tags, part.header
    given = header.first("content-type")
    if given is not None:
        value = given.value
        if not _TYPE.match(value):
            tags.add("BROKEN_CONTENT_TYPE", "a Content-Type that cannot be read", given.text)
        elif value.rstrip().endswith(b";"):
            tags.add("CT_EXTRA_SEMI", "Content-Type ends with ;", given.text)
    encoding = header.value("content-transfer-encoding").strip()
    if encoding and encoding != encoding.lower():
        tags.add("CTE_CASE", "Content-Transfer-Encoding is not in lower case", encoding.decode("ascii", "replace"))
    if part.content_type == "multipart/encrypted":
        kind = "PGP" if b"pgp" in part.parameters.get("protocol", b"pgp").lower() else "SMIME"
        tags.add(f"ENCRYPTED_{kind}", "it is encrypted")
    elif part.content_type == "multipart/signed":
        protocol = part.parameters.get("protocol", b"").lower()
        if b"pgp" in protocol:
            tags.add("SIGNED_PGP", "it is signed (PGP)")
        elif b"pkcs7" in protocol:
            tags.add("SIGNED_SMIME", "it is signed (S/MIME)")
    elif part.content_type in ("application/pkcs7-mime", "application/x-pkcs7-mime"):
        is_signed = b"signed" in part.parameters.get("smime-type", b"").lower()
        tags.add("SIGNED_SMIME" if is_signed else "ENCRYPTED_SMIME", "S/MIME")
    elif part.content_type in ("message/delivery-status", "message/rfc822", "text/rfc822-headers"):
        tags.add("HAS_MESSAGE_PARTS", "a message or its report lies within", part.content_type)
    if part.content_type == "multipart/report":
        tags.add("IS_DSN", "it is a report")
    if part.content_type.startswith("text/") and not part.is_container:
        _look_at_text(view, part, encoding.lower())
    elif part.content_type == "application/octet-stream" and not part.disposition and not part.is_container:
        tags.add("CTYPE_MISSING_DISPOSITION", "a file without disposition", part.filename)


def _look_at_text(view: View, part: Part, encoding: bytes) -> None:
    tags, octets = view.tags, part.octets
    is_ascii = octets.isascii()
    if encoding == b"7bit" and not is_ascii:
        tags.add("BAD_CTE_7BIT", "8-bit characters under Content-Transfer-Encoding: 7bit")
    if encoding == b"base64":
        tags.add("MIME_BASE64_TEXT", "text in base64")
        if part.decoded and part.decoded.isascii() and not part.is_attachment:
            tags.add("MIME_BASE64_TEXT_BOGUS", "plain ASCII in base64")
    is_unnamed = part.content_type == "text/plain" and "charset" not in part.parameters
    if is_unnamed and "content-type" in part.header and not (is_ascii and part.encoding in _SEVEN):
        tags.add("MISSING_CHARSET", "text without charset that is not plain ASCII")
    text = part.text[:_MIXED_LOOKED_AT]
    if not text.isascii() and not part.is_attachment and _mixes(text):
        tags.add("MIXED_CHARSET", "words that mix letters of several scripts", text[:80])


def _mixes(text: str) -> bool:
    """Whether words mix Latin letters with look-alikes of others."""
    for word in _BLANK.split(text):
        if not word.isascii() and len(word) > 2:
            scripts = scripts_of(word)
            if "LATIN" in scripts and not scripts.isdisjoint(("CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE")):
                return True
    return False


def _look_at_attachment(view: View, part: Part) -> None:
    tags, lists, name = view.tags, view.lists, part.filename
    tags.add("HAS_ATTACHMENT", "it has an attachment", name or part.content_type)
    if name:
        _look_at_name(view, name)
        if has_obscured(name):
            tags.add("MIME_BAD_UNICODE", "a file name with characters that hide it", name)
        endings = extensions(name)
        expected = lists.types.get(endings[0]) if endings else None
        if expected and part.content_type not in (*expected, "application/octet-stream"):
            tags.add("MIME_BAD_ATTACHMENT", f"a .{endings[0]} file declared as {part.content_type}", name)
    found = contradicts(part.content_type, part.decoded)
    if found:
        tags.add("MIME_BAD", f"declared as {part.content_type}, it is {found}", name)
    elif true_type(part.decoded):
        tags.add("MIME_GOOD", "an attachment is what it says", part.content_type)
    if part.decoded.startswith(b"PK\x03\x04"):
        for each in zip_names(part.decoded):
            _look_at_packed(view, each)


def _look_at_name(view: View, name: str) -> None:
    tags, lists = view.tags, view.lists
    endings = extensions(name)
    if not endings:
        return
    is_bad = endings[0] in lists.bad_extensions
    if is_bad:
        tags.add("MIME_BAD_EXTENSION", f"a file that runs what is in it (.{endings[0]})", name)
    if len(endings) > 1 and is_bad and (endings[1] in lists.types or endings[1] in lists.bad_extensions):
        tags.add("MIME_DOUBLE_BAD_EXTENSION", "a file that runs, named as another kind", name)
    if (
        len(endings) > 1
        and endings[0] in lists.archive_extensions
        and endings[1] in lists.bad_extensions - _PACKED_WELL
    ):
        tags.add("MIME_DOUBLE_BAD_EXTENSION", "a packed file that runs", name)
    if len(endings) > 1 and endings[0] in lists.archive_extensions and endings[1] in lists.archive_extensions - {"tar"}:
        tags.add("MIME_ARCHIVE_IN_ARCHIVE", "an archive within an archive", name)


def _look_at_packed(view: View, name: str) -> None:
    """A file within an archive."""
    endings = extensions(name)
    if not endings:
        return
    if endings[0] in view.lists.bad_extensions - {"htm", "html"}:
        view.tags.add("MIME_BAD_EXTENSION", f"an archive with a file that runs (.{endings[0]})", name)
        if len(endings) > 1 and endings[1] in view.lists.types:
            view.tags.add("MIME_DOUBLE_BAD_EXTENSION", "a packed file that runs, named as another kind", name)
    if endings[0] in view.lists.archive_extensions:
        view.tags.add("MIME_ARCHIVE_IN_ARCHIVE", "an archive within an archive", name)


def _look_at_whole(view: View) -> None:
    tags, message = view.tags, view.message
    leaves = message.leaves
    content = [part for part in leaves if part.octets.strip()]
    if not content and not message.partial:
        tags.add("COMPLETELY_EMPTY", "it has no content")
    if len(leaves) == 1 and leaves[0].content_type.startswith("text/") and leaves[0].size < _SHORT:
        tags.add("SINGLE_SHORT_PART", f"one part of {leaves[0].size} octets")
    top = message.parts[0] if message.parts else None
    if top is not None and top.content_type == "multipart/mixed" and top.is_container:
        inner = [part for part in message.parts if part.depth == 1]
        is_text = all(part.content_type.startswith("text/") and not part.is_attachment for part in inner)
        if is_text and 0 < len(inner) < 3:
            tags.add("CTYPE_MIXED_BOGUS", "multipart/mixed with nothing but text")
    encrypted = [part for part in message.parts if part.content_type == "multipart/encrypted"]
    if encrypted and any(part.text.strip() for part in message.texts if part.parent != "multipart/encrypted"):
        tags.add("BOGUS_ENCRYPTED_AND_TEXT", "encrypted, with clear text beside")
    if message.partial:
        tags.add("SCAN_PARTIAL", f"not all of it was looked at: {message.partial}")


def _look_at_alternatives(view: View) -> None:
    """Text and HTML that should say the same."""
    tags = view.tags
    pages, texts = view.pages, [part for part in view.message.texts if part.content_type == "text/plain"]
    leaves = [part for part in view.message.leaves if not part.is_attachment]
    is_alternative = any(
        part.content_type == "multipart/alternative" and part.is_container for part in view.message.parts
    )
    if is_alternative and not texts:
        tags.add("MIME_MA_MISSING_TEXT", "multipart/alternative without a text part")
    if is_alternative and not pages:
        tags.add("MIME_MA_MISSING_HTML", "multipart/alternative without an HTML part")
    is_other = any(part.content_type in ("text/calendar", "text/plain") for part in leaves)
    if pages and not texts and not is_other:
        tags.add("MIME_HTML_ONLY", "HTML without a text beside")
    if is_alternative and len(pages) == 1 and len(texts) == 1:
        similar = likeness(texts[0].text, pages[0][1].text)
        if similar < 0.5:
            tags.add("PARTS_DIFFER", f"text and HTML say different things ({similar:.2f} alike)")
        text_hosts = {link.url.host for link in view.links if link.place == "text"}
        page_hosts = {link.url.host for link in view.links if link.place == "html"}
        if text_hosts and page_hosts and len(text_hosts) != len(page_hosts):
            tags.add("URI_COUNT_ODD", "text and HTML link to different hosts")


_WORD = re.compile(r"\w{3,40}")


def likeness(one: str, other: str) -> float:
    """How far two texts are of the same words, 0 to 1 (the cosine of their counts); 1 where one says nothing."""
    counts: list[dict[str, int]] = []
    for text in (one, other):
        found: dict[str, int] = {}
        for word in _WORD.findall(text[:20000].lower()):
            if word not in _LINK_WORDS:
                found[word] = found.get(word, 0) + 1
        counts.append(found)
    first, second = counts
    if len(first) < 5 or len(second) < 5:
        return 1.0
    dot = sum(number * second.get(word, 0) for word, number in first.items())
    size = sum(number * number for number in first.values()) * sum(number * number for number in second.values())
    return float(dot / size**0.5)


_LINK_WORDS = frozenset(("http", "https", "www", "com", "net", "org", "html", "htm"))
