"""A rule of spam scoring in Python, as an example.

Put a file like this where Python finds it (PYTHONPATH, or the site-packages of relayd) and name its functions:

    [spam-filter]
    plugins = ["spam_plugin_example:is_invoice"]

    [spam-filter.list.scores]
    INVOICE_FROM_STRANGER = 2.5

A rule is given the view of a message and sets tags, each with a reason and the evidence for it.  `view.author`,
`view.to`, `view.subject`, `view.words`, `view.links`, `view.message.parts`, `view.header` and `view.facts` are what it
can look at; see `relayd.spam.view`.  `view.facts.origin` has the client's `asn` and `country` where `geo` is set.  It
runs in a worker process, which is killed when a message takes too long: the message is then deferred, and held when it
comes again, so a rule should take a millisecond and ask nobody.  An exception sets RULE_FAILED and costs no mail.
"""


def is_invoice(view):
    """Invoices with a program inside."""
    if "invoice" in view.subject.lower() and "MIME_BAD_EXTENSION" in view.tags:
        view.tags.add("INVOICE_FROM_STRANGER", "an invoice with a program inside", view.subject)
