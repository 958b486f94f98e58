"""From a promise to an outcome.

`scheduler` decides which recipients are tried now and hands each batch, a Job, to `attempt`.  An attempt asks `routing`
for the next hop, `ways` for its smarthosts and source, and `hosts` for the addresses behind it, borrows a connection
from `pool` or has `connection` make one (aiosmtplib greets, does EHLO, STARTTLS and AUTH on a socket of ours, see
`handshake`, `sign_in` and `oauth`), and runs transactions on it (`transaction`, our own pipelined, streaming protocol
that takes the transport over).  `outcome`, a pure table, says what each reply or failure means for each recipient;
`bounce` writes the reports.  What was learnt goes back to the scheduler, which settles it.  `outlook` tells an operator
the road of an address, found as an attempt finds it.

`suppressing` stands before every attempt: who is on the suppression list is bounced untried, and a refusal that says
that an address is dead puts it there.  `notices` writes mail of relayd's own.

Which TLS each host must give comes with its address: `host_policy` asks DNSSEC for TLSA records and `sts_policies` for
the domain's MTA-STS policy (`sts_fetch` gets it from the web), `routing/tls_policy` decides, and `connection` gives up
only what is not demanded.
"""
