"""Who a message is from: SPF, DKIM, ARC, DMARC, reverse DNS (theory of operation).

Each check is a function of what the session and the message say and of a Resolver; it answers a finding (`findings`):
a result by the names of RFC 8601, the reason, and the steps.  No check raises for what the peer or the DNS says, and
none refuses mail: `verdict` folds the findings into one decision.

All checks of a message share one `resolver.budget.BudgetResolver`: when its time is up every further question fails as
temporary, so a dead DNS server makes "temperror" and never holds a session.
"""
