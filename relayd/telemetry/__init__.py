"""Views of the event stream: log files, the journal, a Postfix-style log, metrics.

Nothing here may slow or stop the engine.  A view subscribes to the stream; in the engine's turn it does no more than
count, or put the event into a bounded buffer.  Everything that costs - rendering, escaping, writing - happens in one
background thread (`log.LogFiles`) or when somebody asks (`metrics.Metrics`).  A full buffer drops and counts; a disk
that cannot be written costs lines, never mail; both are events themselves.

`render` turns an event into a text line or a JSON line, with all text from peers escaped; `postfix_log` into the lines
that pflogsumm and fail2ban read; `files` names, rotates and bounds the files; `sinks` are where lines go.
"""
