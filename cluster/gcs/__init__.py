"""The global control service: which nodes, actors, jobs and keys there are. One a cluster, on the head node."""
