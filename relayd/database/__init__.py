"""Where durable rows live: one small interface, and the SQLite driver behind it.

Writes go through group commit by natural queueing: whoever arrives while a transaction is being synced rides in the
next one, nobody waits for a timer.  A caller hands over a function of the connection, never one await per statement;
when its await returns the change is on disk.  One thread with one connection is the only writer and the only
checkpointer (SQLite before 3.51.3 can corrupt a WAL file that two connections reset at once); readers are opened
read-only.

After a commit or a sync that failed, nothing is known of what reached the disk (a failed fsync may drop the dirty
pages and succeed the next time).  So nothing is promised on that handle any more: everybody in the group gets an
exception, the file is opened anew, everything readable is written and synced again by a checkpoint, and checked.
What cannot be opened and checked is broken, and the daemon stops.

Nothing here knows what the rows mean.  Errors of sqlite3 and of the file system stop here.  A second driver
(PostgreSQL) needs: `write`, `write_each`, `read` with a connection that takes `?` parameters; a function may be run
again after a serialisation failure, so it must change nothing but the database.
"""
