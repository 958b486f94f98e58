"""What is remembered of strangers: how often they fail, and for how long they are shut out; and which recipients are
dead (`suppression`, a database of its own, see there).

`rate` counts against a rate, `bans` decides who is shut out.  Both are pure: the time comes in with every call, tables
are bounded, and an IPv6 address stands for its /64, for one customer has at least that.  In memory for now.
"""
