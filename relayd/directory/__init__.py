"""Who may sign in, with what, and what they may do.

A `Principal` is an account with its secrets; principals come from sources, the configuration file first.  `Directory`
finds out whether a login and a secret (and a one-time code, where the account asks for one) are good for one of them.
Checking a secret is slow on purpose, so it is done on threads of its own, few at a time; a good sign-in is remembered
for minutes under a keyed digest, never as the secret.  A login that does not exist costs as much time as one that does.

What an account may do are the effective permissions of its roles and lists (`permissions`).  Its `version`, a digest of
its secrets, is in everything that is remembered or given out for it, so a changed secret counts at once.

`tokens` seals who signed in into a text that only this machine can open; `codes` keeps what a client exchanges for such
tokens.  `password` knows the hashes that a secret may be stored as (`crypt3`, `hashes`); a hash that cannot be checked
here is an error, and never a wrong secret.
"""
