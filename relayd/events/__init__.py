"""The event vocabulary: every fact that the engine states, as a value.

An event is an id ("smtp.mail-from"), a level, a text, and typed fields; it belongs to a span (one SMTP session, one
delivery attempt, or the daemon itself).  Logs, traces, metrics and live streams are views of this one stream.  One
module a family declares its kinds; stating a fact is one call: `smtp.MAIL_FROM(span, from_="a@example.org")`.
"""
