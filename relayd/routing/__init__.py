"""Where mail goes next and when: next hop, MX order, retry schedule, concurrency; and which TLS a host must give (`tls_policy`, from
`dane`, `mta_sts` and the configuration), with what TLS reports say of it (`tls_report`).

Ring 1: pure.  Time, chance and DNS answers come in by argument.
"""
