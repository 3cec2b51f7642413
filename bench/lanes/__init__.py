"""How long one report's tasks wait for another's."""
