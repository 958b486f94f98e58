"""The header fields that tell the next host what was found (control API, operation 24)."""

from __future__ import annotations

from relayd.spam.score import Action
from relayd.spam.verdict import Verdict

RESULT = "X-Spam-Result"
STATUS = "X-Spam-Status"


def result_fields(verdict: Verdict, result: str = RESULT, status: str = STATUS) -> str:
    """X-Spam-Result and X-Spam-Status with their CRLFs; a field without a name is left out.

    Tags come by score, then name; those that begin with "X_" and count 0 are left out, and so are those that name an
    action instead of a score.
    """
    text = ""
    if result:
        shown = [
            f"{each.tag.name} ({each.score:.2f})"
            for each in verdict.tags
            if not isinstance(each.score, Action) and not (each.tag.name.startswith("X_") and not each.score)
        ]
        text = f"{result}: " + ",\r\n\t".join(shown or ["NONE (0.00)"]) + "\r\n"
    if status:
        text += f"{status}: {'Yes' if verdict.is_spam else 'No'}, score={verdict.score:.2f}\r\n"
    return text
