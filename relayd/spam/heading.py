"""The header fields that tell the next host what was found (control API, operation 24)."""

from __future__ import annotations

from relayd.spam.origin import is_source_tag
from relayd.spam.score import Action
from relayd.spam.verdict import Verdict, Weighed

RESULT = "X-Spam-Result"
STATUS = "X-Spam-Status"


def result_fields(verdict: Verdict, result: str = RESULT, status: str = STATUS) -> str:
    """X-Spam-Result and X-Spam-Status with their CRLFs; a field without a name is left out.

    Tags come by score, then name.  Left out are those that begin with "X_" or tell where the client is and count 0, and
    those that name an action instead of a score.
    """
    text = ""
    if result:
        shown = [
            f"{each.tag.name} ({each.score:.2f})"
            for each in verdict.tags
            if not isinstance(each.score, Action) and (each.score or not _is_left_out(each)) and _is_name(each)
        ]
        text = f"{result}: " + ",\r\n\t".join(shown or ["NONE (0.00)"]) + "\r\n"
    if status:
        text += f"{status}: {'Yes' if verdict.is_spam else 'No'}, score={verdict.score:.2f}\r\n"
    return text


def _is_name(each: Weighed) -> bool:
    """A plug-in may name a tag anything, made of the mail itself too."""
    return each.tag.name.isascii() and each.tag.name.isidentifier()


def _is_left_out(each: Weighed) -> bool:
    return each.tag.name.startswith("X_") or is_source_tag(each.tag.name)
