"""A node's manager: a state machine for resources, leases, workers and actors, and the server that carries it out."""
