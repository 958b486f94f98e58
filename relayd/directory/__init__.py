"""Who may sign in, with what, what they may do, and whose an address is.

Principals (`entry.Type`: individuals, groups, lists, domains, roles, tenants, API keys ...) come from two places.  The
accounts of the configuration file (`principal.FileAccounts`) are read-only; `<data-dir>/directory.db` holds the others
and has one owner, `principals.Principals`.  Names and addresses are unique over both.

**Looking up** (`Principals`): `has_domains` (a plain flag: without a domain principal nothing need be asked),
`await domain("example.org")` -> the domain's `Entry` with its `next_hop`, or None where the domain is not ours;
`await whose("ann+shop@example.org")` -> `Found(entry, address, how, detail)`: the individual, group, list ... whose
address (a primary one or an alias), sub-address or catch-all it is, or None; `await get(name)` -> any `Entry`;
`await members(name)` -> the member entries of a list or group (outside members are `entry.external_members`);
`await find(name)` -> the account with its secrets.  An `Entry` has its tenant's name, `allowances` (quotas of sending,
see `allowance`), `senders`, `suspended`.  Answers are remembered until the next change, so asking again costs no disk.

**Changing**: `fields.draft` and `fields.change` make of what came as JSON what may be written; `Principals.create`,
`update` (all or nothing), `delete`, `delete_many` write it, in the name of an `editing.Authority` (what the caller may
give, the tenant he is bound to), and raise a `refusals.DirectoryRefusal`.  When they return the change is durable and
nothing stale is remembered: `generation` counts up with every change, and `on_change` are called.  Who keeps tables
of his own in the file adds a step to `schema.MIGRATIONS` and uses `Principals.database`.

**Signing in** (`directory.Directory`): whether a login and a secret (and a one-time code, where the account asks for
one) are good for an account.  Checking a secret is slow on purpose, so it is done on threads of its own, few at a time;
a good sign-in is remembered for minutes under a keyed digest, never as the secret.  A login that does not exist costs
as much time as one that does.

What an account may do are the effective permissions of its roles and lists (`permissions`).  Its `version`, a digest of
its secrets, is in everything that is remembered or given out for it, so a changed secret counts at once.

`tokens` seals who signed in into a text that only this machine can open; `codes` keeps what a client exchanges for such
tokens.  `password` knows the hashes that a secret may be stored as (`crypt3`, `hashes`); a hash that cannot be checked
here is an error, and never a wrong secret.
"""
