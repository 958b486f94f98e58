"""What becomes of an account's mail is counted, so that one that sends to nobody's addresses is held."""

from __future__ import annotations

from collections.abc import Callable

from relayd.delivery.parts import Attempter
from relayd.delivery.permit import Permit
from relayd.directory.address_book import is_of_list
from relayd.queue.message import Job, Outcome, Result
from relayd.routing.next_hop import NextHop


class Watching:
    """An Attempter before another one.  told: of the account, its recipients tried for the first time, and how many of
    them bounced because there is no such mailbox or domain.  Members of a list count for nobody: whoever writes to it
    did not choose them.
    """

    def __init__(self, attempts: Attempter, told: Callable[[str, int, int], None]) -> None:
        self._attempts = attempts
        self._told = told

    async def mx_hosts(self, next_hop: NextHop) -> list[str] | None:
        """See `parts.Attempter`."""
        return await self._attempts.mx_hosts(next_hop)

    async def run(self, job: Job, next_hop: NextHop, permit: Permit | None = None) -> list[Outcome]:
        """One attempt; an outcome for each recipient."""
        outcomes = await self._attempts.run(job, next_hop, permit)
        account = job.message.account
        if account is not None and not is_of_list(job.message.return_path):
            first = {each.number for each in job.message.recipients if each.attempts <= 1}
            counted = [each for each in outcomes if each.number in first and not each.uncounted]
            hard = sum(each.result is Result.BOUNCED and each.hard for each in counted)
            if counted:
                self._told(account, len(counted), hard)
        return outcomes
