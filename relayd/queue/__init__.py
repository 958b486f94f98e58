"""What has been promised: messages, their recipients, and who works on them.

States of one message, by what a crash at any instruction can leave behind:

| state | body | rows | meaning, and what start-up does |
|---|---|---|---|
| Q0 | - | - | nothing |
| Q1 | file only | - | not promised: swept at start, and hourly when older than an hour and of no row |
| Q2 | yes | yes, due | queued |
| Q3 | yes | yes, leased | in flight; start-up holds the data directory's lock, so it voids its own node's leases at
  once and the rows are due at their recorded time; another node's lease runs out |
| Q4 | - | yes | must not happen: kept, marked corrupt, reported, shown to the operator, never delivered |
| Q5 | yes | settled, DSN due | outcome and DSN are written in the same transaction: nothing to do |
| Q6 | yes | yes, removed | deleted by an operator, and kept until its window ends: not queued, never leased, counted as
  removed; upkeep purges it (the hourly sweep finds the file if a crash comes between) |
| Q7 | - | yes, removed | its file was given up on a full disk, or its purge was cut off: start-up purges the rows |

Bodies up to `queue.inline-limit` are in the database, in the same transaction as the rows, so for them Q1 and Q4 do
not exist.  The file of a finished message is removed after the transaction that removed its rows (a crash between
leaves Q1).

The invariant, in recipients, is counted in the same transactions as the changes:
accepted + generated + expanded + restored = delivered + bounced + expired + removed + discarded + replaced + queued.
A recipient is counted out exactly once, by whoever ends it first: the outcome of an attempt, or the operator.  The
outcome of an attempt on a recipient that an operator cancelled or removed meanwhile changes nothing, and no report is
written for it.  What was removed can be brought back while it is kept: it then counts as `restored`, but for those who
were delivered by the attempt that was in flight, who never come back (`removal`, `settle`).

When a commit fails its message is not promised, yet the rows may be found after the reopening: `enqueue` then removes
them before it answers.  If that fails too, the message may be delivered although the client was told 4xx: the client
sends it again, which is a duplicate that SMTP allows; nothing is lost.

Turns: a due row waits in the line of its (destination, sender); lines take turns within a destination and destinations
among each other (`lines`).  A row that is leased, held, corrupt or finished is in no line; one that is removed leaves
its line when its turn comes.
"""
