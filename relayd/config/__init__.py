"""The configuration: one TOML file and the settings written through the API, checked as a whole, handed out as typed
values.

Every package declares its options in its own `options.py` (see `relayd.options`); `sections` gathers them.  `load`
works in six steps and reports every error it finds, not just the first:

1. `tomllib` parses the text; a syntax error names the line.
2. `keylines` scans the same text once more for the line of every key, which tomllib does not tell.
3. Tables flatten to paths (tuples of key parts, so a quoted record id may hold dots); each path must be a declared
   option, and its value must be what the option's `Kind` accepts.
4. The settings of the database are laid over that: texts by flat key, which `keys` takes apart.  A list replaces the
   file's whole list; a record is put together from both, and adds to those that are there by default.
5. Secrets written `%{env:NAME}%` or `%{file:PATH}%` are expanded.
6. `checks` looks at what no single option can know: routes that are named but not declared, certificates that are not
   there.  These are errors when the daemon could not work, warnings when it could but probably was not meant to.

The answer is a `Config` (`configuration`): `section(cls)`, `records(cls)`, `flat()` as written, `warnings`.  It never
changes; a reload loads a new one, and one with an error leaves the old one in force.

The database is `<data-dir>/settings.db` (`store`), written by the daemon alone.  `settings` owns it there: a change is
drafted (`changes`), the configuration that it would lead to is loaded and built, and only then it is stored, so what
the API took, a start takes.  A file, a machine or a relayd that changed since may still make a stored value wrong: then
the daemon does not start (exit code 78, the key and "database" named), for a value that is silently left out may be the
one that keeps strangers out; `relayd settings delete` takes it away without a daemon.

`generate` writes `conf/relayd.toml` from the same declarations, so file, parser and documentation cannot disagree.
`places` says where the sockets and the data directory are; both the daemon and the commands ask it.
"""
