"""Where mail goes next and when: next hop, MX order, retry schedule, concurrency.

And which TLS a host must give: `tls_policy` decides from `dane`, `mta_sts`, the message and the configuration, and
says what each `tls_defect` leads to; `tls_report` counts it for the domain (RFC 8460).

Ring 1: pure.  Time, chance and DNS answers come in by argument.
"""
