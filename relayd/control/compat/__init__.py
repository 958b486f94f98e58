"""Other dialects of the control socket, over the same calls as `api`: each with the addresses, the credentials, the
parameters and the answers that its clients know.  A dialect has no right of its own: who may not do a thing by the API
may not do it here.  The DirectMail dialect alone has no likeness there: an account's key manages addresses of its own.
"""
