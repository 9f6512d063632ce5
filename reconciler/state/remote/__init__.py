"""State that several machines share: a log of segments in Postgres or in an object store.

A shared state is a log. Each write appends one numbered segment, and the storage accepts each number only
once, so two runs can never both write segment 12. Snapshots shorten the log. The layers, from the bottom:

- `storage`: the interface of a storage; `postgres` and `objects` implement it.
- `segments`: the format of segments and snapshots, with the digest of the previous segment in each.
- `lease`: who may append, for how long, and how a dead holder is replaced.
- `replica`: a copy of the state in memory, whose writes are appended to the log.
"""
