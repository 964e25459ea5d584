"""The engine: messages, processes, object store and the machinery behind the public API."""
