"""The demo's tasks, one module per subject."""
