"""Outside filters: scanners (ClamAV, SpamAssassin, rspamd) and milters, from the mail server's side.

Scanners (scanning.py; clamd.py, spamd.py, rspamd.py) get the whole message as it will be queued and say what they make
of it; all are asked side by side.  Milters (milters.py for a session, milter.py for a connection, milter_wire.py for
the octets, milter_macros.py, ruling.py, changes.py) follow a session from its first command, may refuse at each, and
may change the message; they are asked one after the other, each sees what those before it left.

Whatever a filter does, mail goes on: each wait has a limit, all filters of a message share `session.data.scan.timeout`,
a reply has a bound, and what is no reply of the protocol is a failure.  A failure is an event; then `on-failure` says
whether the message is taken all the same or answered 451.  A filter that fails `breaker.failures` times in a row is not
waited for until a trial succeeds (circuit.py).

Nothing here knows a session of ours or the queue: values come in, values go out (`scan.Scannable`, `scan.Scan`,
`milter_macros.Facts`, `changes.Edited`, `ruling.Ruling`).
"""
