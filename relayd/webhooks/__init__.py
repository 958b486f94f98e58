"""Web servers that are told of events: durably, in order, at least once.

`webhooks.Webhooks` subscribes to the stream of events, and only while a webhook wants some.  In the engine's turn an
event costs one look-up, and one that is wanted goes into a bounded buffer.  A task of the daemon writes what is there
into an append-only log (`eventlog`, `<data-dir>/webhooks.db`), each event under an id that it keeps.  Every webhook has
a position in that log, the id of the last event that its server took; a task of its own (`sending`) reads on from
there, posts (`posting`) and moves the position when the answer is 2xx.  So one slow server delays no other, a restart
or a SIGKILL goes on where it was, and to send again is to set the position back.

What a server may see twice: a batch whose answer was lost.  It tells by the id.  What it may miss: events of the last
moment before a SIGKILL that were not yet in the log, those older than `webhook.<id>.discard-after` that it did not
take, and those that the bounds of the log took away; the latter two are stated, with their number.

The log is a database of its own (`synchronous=NORMAL`): it may be deleted, full or broken without touching mail.  While
it cannot be written, events wait in the buffer, and past its bound are dropped and counted.

Besides the webhooks of the configuration there may be endpoints that belong to something else, an account's address
say: `Webhooks.enqueue(id, ...)` logs an event for one of them alone, and `Webhooks.lookup` finds where it is sent.
"""
