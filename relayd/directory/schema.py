"""The tables of `<data-dir>/directory.db`.

A principal's rows refer to each other by id, so a new name costs one row.  What is looked for stands in columns and
tables with an index; the rest of a principal is the JSON object `attributes`.  `memberships` hold groups, lists and
roles alike; the roles that are always there have ids that no principal has.

access_keys and sending_addresses: see the modules of their names.
"""

from __future__ import annotations

from relayd.database.migrations import Migration

FILE = "directory.db"

ROLE_IDS = {"user": 4294967294, "admin": 4294967293, "tenant-admin": 4294967292}
"""Ids of the roles that are always there; 4294967295 is the fallback administrator's."""

_SENDING = (
    # owner: the id of a principal, which is never used again; owner_name: for one of the configuration
    "CREATE TABLE access_keys (id TEXT PRIMARY KEY, owner INTEGER NOT NULL, owner_name TEXT NOT NULL,"
    " sealed BLOB NOT NULL, created REAL NOT NULL) WITHOUT ROWID",
    "CREATE INDEX access_keys_owner ON access_keys (owner)",
    "CREATE TABLE sending_addresses (id INTEGER PRIMARY KEY AUTOINCREMENT, address TEXT NOT NULL UNIQUE,"
    " owner INTEGER NOT NULL, owner_name TEXT NOT NULL, type TEXT NOT NULL, created REAL NOT NULL,"
    " frozen TEXT NOT NULL, reply TEXT NOT NULL, reply_verified INTEGER NOT NULL, ticket TEXT NOT NULL,"
    " ticket_until REAL NOT NULL, daily INTEGER NOT NULL, monthly INTEGER NOT NULL, password TEXT NOT NULL,"
    " scram TEXT NOT NULL, notify_url TEXT NOT NULL, notify_key TEXT NOT NULL)",
    "CREATE INDEX sending_addresses_owner ON sending_addresses (owner, id)",
)

MIGRATIONS = (
    Migration(
        1,
        (
            "CREATE TABLE principals (id INTEGER PRIMARY KEY AUTOINCREMENT, type TEXT NOT NULL, name TEXT NOT NULL,"
            " tenant INTEGER, search TEXT NOT NULL, attributes TEXT NOT NULL)",
            "CREATE UNIQUE INDEX principals_name ON principals (name)",
            "CREATE INDEX principals_type ON principals (type, name)",
            "CREATE INDEX principals_tenant ON principals (tenant, type, name) WHERE tenant IS NOT NULL",
            # apart: nothing that lists principals reads secrets
            "CREATE TABLE secrets (principal INTEGER PRIMARY KEY, stored TEXT NOT NULL, scram TEXT NOT NULL)",
            "CREATE INDEX secrets_scram ON secrets (principal) WHERE scram != ''",
            "CREATE TABLE addresses (address TEXT PRIMARY KEY, principal INTEGER NOT NULL, position INTEGER NOT NULL,"
            " domain TEXT NOT NULL) WITHOUT ROWID",
            "CREATE INDEX addresses_principal ON addresses (principal, position)",
            "CREATE INDEX addresses_domain ON addresses (domain, principal)",
            "CREATE TABLE memberships (member INTEGER NOT NULL, of INTEGER NOT NULL, position INTEGER NOT NULL,"
            " PRIMARY KEY (member, of)) WITHOUT ROWID",
            "CREATE INDEX memberships_of ON memberships (of, member)",
        ),
    ),
    Migration(2, _SENDING),
)
