"""The control socket: an aiohttp application that shows and steers the running engine.

A request passes `requests.trace` (request id, access event, every failure mapped to one of the API's two error forms),
then `access.Gate` (credentials, before anything is looked up), then its route's permission, then one handler of
`api/<area>`, which reads the query into a typed value, makes one call on the queue or another part, and answers
`{"data": ...}`.  Handlers know no aiohttp but the request they read; they raise `answers.Problem` or `answers.Failure`.

The order of checks is: OPTIONS, credentials (401), route (404), permission (403), parameters and body (400), action.
So an unknown path without credentials is 401.  Only `/healthz/*` is open to all, and `/metrics` to this machine.

`app.ControlApp` listens on TCP sockets and on `<data-dir>/control.sock`, whose peers are told by the kernel: uid 0 and
the daemon's own uid are administrators.  Clients that dawdle are cut off by `sweep`.
"""
