"""Questions to the DNS.

`answer` and `zone` are ring 0: what a resolver promises, and a zone held in a dict that keeps the same promises for
tests.  `live` is ring 2: the real one on dnspython, with its cache.  `budget` stands before either for one message:
a time for all its questions together, and a record of each.  `hosts_file` puts this machine's own names before
it, for next hops that an operator wrote down.
"""
