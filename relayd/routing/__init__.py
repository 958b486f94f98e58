"""Where mail goes next and when: next hop, MX order, retry schedule, concurrency.

Ring 1: pure.  Time, chance and DNS answers come in by argument.
"""
