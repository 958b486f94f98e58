"""How the parts are put together: the engine between the listeners and the disk, built from one configuration.

`loaded.Loaded` is a configuration turned into what the parts are given; making one checks everything that can be wrong
with it, so that a reload builds the new one whole before any part hears of it.  `engine.Engine` owns the parts:
`open` brings them up in the order in which they need each other, `close` takes them down in reverse.  What belongs
together is built and reloaded in one module each: `delivering` the way out, `receiving` the way in, `troubleshooting`
what answers an operator's questions, `control_socket` what the control socket is given.
"""
