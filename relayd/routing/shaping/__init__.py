"""How much a destination is given: what is allowed, what is in use, and when the next message may go.

A destination's Shape (`rules`) says who its provider is and which limits hold for it: those of the provider, which all
its domains share, and those of the domain itself.  The provider is found by the domain, or by the site that its MX
hosts belong to (`site`), so that many domains of one hoster count as one.  Each set of limits has a Meter (`meter`),
which knows what runs now, the pace of messages (`pace`) and the day's count (`daily`).  What a provider answers may
slow it down (`slowing`) or suspend it (`responses`).

Pure: `now` (Unix seconds) comes in as an argument.  What the rules know of the big providers is data,
`conf/shaping.toml`; who starts jobs and keeps the meters is `delivery/shaping`.
"""
