"""Switchyard's core: queues, delivery, workflows and the processes that run them. Knows nothing of any fork's tasks."""
