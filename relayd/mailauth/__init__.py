"""Who a message is from: SPF, DKIM, ARC, DMARC, reverse DNS (theory of operation).

Each check is a function of what the session and the message say and of a Resolver; it answers a finding (`findings`):
a result by the names of RFC 8601, the reason, and the steps.  No check raises for what the peer or the DNS says, and
none refuses mail: `verdict` folds the findings and the options into one decision.  Nothing here reads a clock, the
disk or the network; time, keys and answers come in by argument.

- `spf` (RFC 7208) evaluates the records that `spf_record` and `spf_macro` read, for the EHLO name and the return path.
- `iprev` looks at the names of the client's address, and at what its EHLO name leads to.
- `authors` reads From; `dmarc` compares its domain with those that SPF and DKIM proved.  `dmarc_discovery` finds the
  policy and the organisational domains, by the tree walk of RFC 9989 or by the public suffix list (`orgdomain`).
- `dkim_verify`, `dkim_sign` (RFC 6376), `arc` and `arc_seal` (RFC 8617) work on `signature`, `tags` and linear bodies
  (`canonical`); `dkim_key` and `signing_key` are the public and the private keys.
- `results` writes Authentication-Results, `results_read` reads them, `forged` finds those that claim to be ours.
- `hops` finds the client before our own relays (`session.trusted-relays`), for whom these checks are then made.

- `examine` makes all checks of a message, side by side where they wait for the DNS; `apart`, in a thread what is long.

The order for one message: SPF, iprev and EHLO need the session alone; DKIM and ARC the content; DMARC needs SPF and
DKIM; the verdict needs all.  All of them share one `resolver.budget.BudgetResolver`: when its time is up every further
question fails as temporary, so a dead DNS server makes "temperror" and never holds a session.

What is read of strangers' text is bounded (16 KB of a record or a From field), and read in linear time.
"""
