"""Task queues beside each other: what each one's workers run, how they are started and filled, and what becomes of a message.

Ours as a deployment runs it, Celery as it comes, and the peers of requirements/peers.txt, whose workers are processes of
.venv-peers. All have the same two tasks, which note that they ran in the same way (`bench.notes`).
"""
