"""The SMTP protocol's pure parts: command lines and their parameters, extensions, DATA and BDAT framing, replies,
the PROXY header.

Ring 0: bytes and text in, values out.  Nothing here waits, reads a clock or knows a socket; every parser of a stream is
fed chunks as they come and gives the same answer however they were cut.
"""
