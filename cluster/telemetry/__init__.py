"""What ran, when and where: events of tasks from their processes to whoever draws or lists them."""
