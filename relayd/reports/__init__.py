"""What domains are told of the mail that goes to them, and what is collected for it.

TLS reporting (RFC 8460): `tls_results` keeps what came of the sessions with each domain's hosts, by policy and day, in
a database of its own that may be deleted without touching mail; `tls_record` asks whom a domain wants to be told.
"""
