"""From an offered message to a promise.

The listener reads commands and asks here at each step: connect, helo, mail, rcpt, data, end of data.  Here is decided
who may relay, which recipients exist, what is rewritten; here the trace fields are written and the message is queued.
Each step answers with a Reply value; nothing here knows a socket.
"""
