"""Questions to the DNS.

`answer` and `zone` are ring 0: what a resolver promises, and a zone held in a dict that keeps the same promises for
tests.  `live` is ring 2: the real one on dnspython, with its cache.
"""
