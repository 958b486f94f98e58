"""Rules on HTML: what it hides, what it does, how much of it is image."""

from __future__ import annotations

import re

from relayd.spam.html import Page
from relayd.spam.message import Part
from relayd.spam.url import parse_url
from relayd.spam.view import View

_SHORT = ((1024, 1), (1536, 2), (2048, 3))
_LARGE = 400
"""Pixels of a side, together, from which an image is more than an ornament."""
_HIDDEN = 40
_WORD = re.compile(r"\w{2,}")


def look_at_pages(view: View) -> None:
    """Every HTML part."""
    for part, page in view.pages:
        _look_at_page(view, part, page)
        _look_at_images(view, page)
        _look_at_data(view, page)


def _look_at_page(view: View, part: Part, page: Page) -> None:
    tags = view.tags
    if page.refresh and "url" in page.refresh.lower():
        tags.add("HTML_META_REFRESH_URL", "the page leads on by itself", page.refresh)
    for name in ("head", "body"):
        if page.tags.get(name, 0) > page.closed.get(name, 0):
            tags.add("HTML_UNBALANCED_TAG", f"<{name}> is not closed")
    if page.has_style_sheet:
        tags.add("EXT_CSS", "a style sheet from elsewhere")
    if page.has_form:
        tags.add("HTML_FORM", "a form to fill in")
    if page.has_script:
        tags.add("HTML_SCRIPT", "a script")
    if len(_WORD.findall(page.hidden[:2000])) > _HIDDEN:
        tags.add("HTML_HIDDEN_TEXT", "words that nobody sees", page.hidden.strip()[:80])
    if page.is_cut:
        tags.add("SCAN_PARTIAL", "not all of it was looked at: HTML of too many elements")
    words = len(page.text.strip())
    short = next((number for limit, number in _SHORT if words < limit), 0)
    if short:
        tags.add(f"HTML_SHORT_{short}", f"HTML of {words} characters")
    if page.links and len(part.text) < 20000:
        rest = page.text
        for link in page.links:
            rest = rest.replace(link.text, " ") if link.text else rest
        if not _WORD.search(rest) and len(page.links) < 20 and any(_is_web(link.url) for link in page.links):
            tags.add("BODY_URI_ONLY", "the page is links alone")


def _is_web(url: str) -> bool:
    return parse_url(url).scheme in ("http", "https")


def _look_at_images(view: View, page: Page) -> None:
    tags = view.tags
    external = [image for image in page.images if image[0][:4].lower() == "http"]
    if external:
        tags.add("HAS_EXTERNAL_IMG", "an image from elsewhere", external[0][0])
    pixels = sum(width * height for _, width, height in page.images)
    words = len(page.text)
    if words and pixels > 40000 and words * 100 < pixels:
        tags.add("HTML_TEXT_IMG_RATIO", f"more image than text: {words} characters, {pixels} pixels")
    if any(link.has_image for link in page.links):
        tags.add("HAS_LINK_TO_IMG", "an image that is a link")
        if any(width + height >= _LARGE or (not width and not height) for _, width, height in page.images):
            tags.add("HAS_LINK_TO_LARGE_IMG", "a large image that is a link")


def _look_at_data(view: View, page: Page) -> None:
    sources = [link.url for link in page.links] + [image[0] for image in page.images]
    if any(source[:5].lower() == "data:" for source in sources):
        view.tags.add("HAS_DATA_URI", "data within a link")
    for link in page.links:
        start = link.url[:100].lower()
        if start.startswith("data:") and ";base64" in start and ("text/" in start or "javascript" in start):
            view.tags.add("DATA_URI_OBFU", "a page hidden within a link", start)
