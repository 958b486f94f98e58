"""The message as data: addresses, envelope, header, trace fields, replies, delivery status notifications.

Ring 0: pure values and functions.  Nothing here reads a clock, a disk or a socket; bytes that came from the wire stay
bytes until a person must read them.
"""
