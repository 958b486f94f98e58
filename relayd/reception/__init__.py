"""From an offered message to a promise.

The listener reads commands and asks here at each step: connect, helo, mail, rcpt, data, end of data (receive.py).
Each step answers with a Reply value; nothing here knows a socket.

Session classes.  A session is trusted when its client's address is in `session.rcpt.relay-networks` or the listener's
own relay-networks, when it signed in, when it came over the submit socket, or over another Unix socket as root or as
the daemon's own user; PROXY and XCLIENT decide the address, an IPv4-mapped address is the IPv4 address.  All others
are strangers, who may send to relay domains, to aliases of ours and to postmaster (recipients.py).

Recipients.  The right to relay is decided on the address as it was given; then it is rewritten, or replaced by what a
local name, a redirecting rule or `queue.redirect-all` says (local_names.py, rewriting.py, access.py); what is left at
a relay domain must exist before its 250 (known.py).  Mail to postmaster of a relay domain or of ours goes to
`server.postmaster`, else to the alias postmaster or root, else (relay domain) to the domain's own next hop; with none
of these it is answered 451 and `relayd check` warns.  Each replacement counts as one recipient replaced and so many
expanded, so that accepted + expanded = replaced + queued for every message.

Content is held in memory up to 1 MiB, and goes to a spool file past it, written in steps by a thread while the
session waits; a header block over 1 MiB is refused 554 5.6.0 (body.py).  Trace fields and an edited header stand in
front of the content as the message's head, and the body is never copied for them (head.py).

Who sent it.  Strangers' mail to listeners with the role mx is checked (checks.py; the checks themselves are those of
mailauth): the sender at MAIL, the content at the end of data, where a refusal is given.  What was found goes on top as
Authentication-Results, and fields that claim to be ours are taken out.  For hosts in `session.trusted-relays` the
client is the one that their Received field names, and what they wrote above it is believed.

The promise.  `finish` answers 250 only when the queue has the message durably (promise.py).  What goes wrong on our
side is a 4xx and promises nothing; what goes wrong after the commit never takes the promise back.  Where delivery
admits it, the message is queued leased and handed over in memory, one job for each destination.

Mail of trusted sessions is signed last, over the header as it will be sent (signing.py), with keys that are read anew
when their files change (keyring.py); a message whose key cannot be read is answered 451.  A new key takes the place of
an old one once the DNS shows it (rotation.py).

Operators ask the same code without sending mail: `examination` makes the checks on a message that is given, `trial`
walks an envelope up to RCPT.  Nothing is queued, probed or logged for them.

Everything that configuration decides is compiled into a Policy at (re)load (policy.py); a transaction ends by the one
it began with.
"""
