"""The control socket: an aiohttp application that shows and steers the running engine.

A connection comes in by a place of `listening` (TCP, TLS, PROXY, Unix socket), and is a `connection.Connection`, which
answers what is no HTTP.  A request passes `sweep` (who dawdles), `requests.trace` (request id, access event, every
failure mapped to one of the API's two error forms) and `requests.Checks`, in this order: Host (421), OPTIONS (204), ban
(429), credentials (401, 402, 403), rate and number of the account's requests (429, 400), body (413), route (404).  Then
its `routes.Route` checks the permission (403), decodes the query and the body (400), and calls one handler of
`api/<area>`, which makes one call on the queue or another part, and answers `{"data": ...}`.  Handlers raise
`answers.Problem` or `answers.Failure`.  So an unknown path without credentials is 401.

Where a request comes from is decided once (`origin`): a trusted proxy of the listener is believed, of anybody else
forwarding headers only take privileges away.  From it follows who is exempt from limits and bans (this machine and
listed networks), and whose credentials are not looked at because they crossed the network in clear.  `access.Gate`
finds the caller; on the Unix socket the kernel tells the peer: uid 0 and the daemon's own uid are administrators.

What sees to credentials itself is a `routes.Door` (`/auth/token`, other dialects below `compat`).  `/healthz/*` is open
to all, `/metrics` to this machine.  Streams of events (`streaming`) end as HTTP ends when the daemon stops.
"""
