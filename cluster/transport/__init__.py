"""ZeroMQ sockets, CURVE keys and the loops that drive them.

Knows frames and peers, nothing of what the messages mean.
"""
