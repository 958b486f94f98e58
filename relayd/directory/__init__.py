"""Who may sign in: the accounts of the configuration and their credentials.

Checking a secret is slow on purpose, so it is done on threads of its own, few at a time; a good sign-in is remembered
for minutes under a keyed digest, never as the secret.  A login that does not exist costs as much time as one that does.
"""
