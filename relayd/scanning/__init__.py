"""Worker processes that scan what may cost more than the event loop can spare, each killed at its limit."""
