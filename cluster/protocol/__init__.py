"""Every message and id of the cluster, as msgspec structs. No IO here, and nothing that knows how messages travel."""
