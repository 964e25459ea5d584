"""The node's object store: one arena in shared memory, spilling to disk, and transfer between nodes.

`machine` holds the rules, `server` runs them inside the raylet, `client` and `slab` are what drivers and workers use.
"""
