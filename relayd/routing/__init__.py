"""Where mail goes next and when: next hop, MX order, retry schedule, concurrency.

`route` names the next hop of a recipient, `rule` by more than its domain; `smarthost` orders the hosts of a route by
share (`weighted`), health and `budget`; `source` says where connections leave from.

And which TLS a host must give: `tls_policy` decides from `dane`, `mta_sts`, the message and the configuration, and
says what each `tls_defect` leads to; `tls_report` counts it for the domain (RFC 8460).

Ring 1: pure.  Time, chance and DNS answers come in by argument.
"""
