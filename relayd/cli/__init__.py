"""The commands.  `program` names them and imports each only when it is used, so that `sendmail` and `--version` start
fast; click parses, rich draws tables when stdout is a terminal.

`serve`, `check` and `try` build things of their own from the configuration.  `send`, `sendmail` hand mail in over
SMTP (`submission`); every other verb is a client of the control socket (`control`) and has no private door.

Exit codes are those of sysexits.h: 64 usage, 65 bad data, 66 no such message, 69 no daemon, 70 our bug, 73 cannot
create, 75 try again later, 77 not allowed, 78 configuration.
"""
