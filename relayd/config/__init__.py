"""The configuration: one TOML file, read once, checked as a whole, handed out as typed values.

Every package declares its options in its own `options.py` (see `relayd.options`); `sections` gathers them.  `load`
reads the file in five steps and reports every error it finds, not just the first:

1. `tomllib` parses the text; a syntax error names the line.
2. `keylines` scans the same text once more for the line of every key, which tomllib does not tell.
3. Tables flatten to paths (tuples of key parts, so a quoted record id may hold dots); each path must be a declared
   option, and its value must be what the option's `Kind` accepts.
4. Secrets written `%{env:NAME}%` or `%{file:PATH}%` are expanded.
5. `checks` looks at what no single option can know: routes that are named but not declared, certificates that are not
   there.  These are errors when the daemon could not work, warnings when it could but probably was not meant to.

The answer is a `Config` (`configuration`): `section(cls)`, `records(cls)`, `flat()` as written, `warnings`.  It never
changes; a reload loads a new one, and a file with an error leaves the old one in force.

`generate` writes `conf/relayd.toml` from the same declarations, so file, parser and documentation cannot disagree.
`places` says where the sockets and the data directory are; both the daemon and the commands ask it.
"""
