"""How long one task waits on an idle system, from its publisher's call to its first line."""
