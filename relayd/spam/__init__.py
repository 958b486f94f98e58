"""Spam scoring: rules look at a message and set tags, tags add up to a score, the score decides.

Everything here is pure.  `message.read` makes a bounded view of the content; `scan.scan` lets the rules of the
content look at it (header, senders, recipients, subject, words, links, parts) and gives `Scanned`: tags, what others
can be asked about (links, hosts, addresses, hops), and the tokens of the statistical model.  Tags of others - DNS
lists, reputation, outside scanners, what mailauth found - are set beside them, `composites` add what follows from
several, and `verdict.judge` weighs the sum by the thresholds of each recipient: the mildest verdict holds for all.

A tag carries its reason and its evidence, so that every point of a score can be argued with; `explain` finds the
smallest set of tags without which the verdict would be another.

Bounds.  A message is looked at up to MAX_OCTETS octets, MAX_PARTS parts, MAX_DEPTH levels and MAX_TEXT characters of
text; what is beyond sets SCAN_PARTIAL, so that nothing passes unseen without saying so.  All work is linear in what is
looked at; patterns of operators run on RE2, which cannot be made to backtrack.  What may cost more than 10 ms is done
by a worker process (`relayd.scanning`) that is killed at its limit.
"""
