"""From a promise to an outcome.

`scheduler` decides which recipients are tried now and hands each batch, a Job, to `attempt`.  An attempt asks `routing`
for the next hop and `hosts` for the addresses behind it, borrows a connection from `pool` or has `connection` make one
(aiosmtplib greets, does EHLO, STARTTLS and AUTH on a socket of ours), and runs transactions on it (`transaction`, our
own pipelined, streaming protocol that takes the transport over).  `outcome`, a pure table, says what each reply or
failure means for each recipient; `bounce` writes the reports.  What was learnt goes back to the scheduler, which
settles it.  `outlook` tells an operator the road of an address, found as an attempt finds it.
"""
