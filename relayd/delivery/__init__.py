"""From a promise to an outcome.

`scheduler` decides which job runs when and owns the tasks; `attempt` makes one attempt over `pool` and `connection`;
`outcome` is the pure table that says delivered, deferred or bounced; `due` gives an outcome its times; `settling`
records outcomes until they are recorded; `bounce` writes the notifications that follow from them.
"""
