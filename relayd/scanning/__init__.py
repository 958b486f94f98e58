"""Worker processes that scan what may cost more than the event loop can spare, each killed at its limit.

A thread cannot be stopped, and holds the interpreter's lock while a regular expression runs; a process can be killed.
The engine starts its workers itself, and talks with each over its standard input and output (`frames`).  A scan has a
limit of CPU time, which the kernel watches (`setitimer`, SIGPROF), a limit of memory (RLIMIT_AS), and a limit of time
by the clock, at which the engine kills the worker (`workers`).  A worker that ends is replaced; what it was at is
reported to whoever asked.  When the engine ends, however it does, its workers read the end of their input and end too.
"""
