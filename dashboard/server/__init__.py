"""The process behind a cluster's URL: login, pages, the REST API, the stream of changes, metrics."""
