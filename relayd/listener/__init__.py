"""SMTP and LMTP listeners: sockets, sessions, TLS, PROXY protocol, credentials, limits.

`Listeners` (listeners.py) owns the sockets and every session.  A connection becomes a `RelaySMTP` (session.py), which
is an aiosmtpd protocol whose input, output and constructor are our own (protocol.py says why).  One task reads one
session's commands; verbs that take more than a few lines have a module each: data.py (DATA, BDAT), credentials.py
(AUTH), xclient.py.  What a command means is asked of `relayd.reception`; nothing is decided here but the protocol's
order, its limits and who may speak at all.

Time: no session has a timer.  A session that waits for its peer has a deadline, and `Listeners.sweep` looks at all
deadlines once a second.  A session that works for its peer has none: it is never interrupted between the final dot and
the reply.

The end: only the session's own task ends it.  Whoever wants it to end (lost connection, deadline, drain) leaves a
reason with `interrupt`, which is raised as SessionOver where the task next waits for the peer.
"""
