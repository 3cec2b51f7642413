"""What runs in a queue's worker process."""
