"""Bodies too large for the database: files named by queue id, one for each message, shared by none.

A body is written to a temporary file while it comes in, synced, renamed to its queue id, and the directory synced,
before the transaction that writes its rows; so rows never stand without their body.  The other way round a crash can
leave a file without rows: it was never promised, and `sweep` removes it.
"""
