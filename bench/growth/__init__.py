"""What grows with the work: a workflow of ever more items, and a configuration of ever more queues."""
