"""The broker: what is in it."""
