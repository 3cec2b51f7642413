"""The deployment as containers: what runs in them is what the local runtime runs as processes."""
