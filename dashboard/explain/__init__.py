"""Why a cell took as long as it did: each slot's seconds accounted for, ranked findings, the critical path. Pure."""
