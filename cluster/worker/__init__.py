"""What runs inside a worker process: the executor, actor loops, output capture."""
