"""Small tasks per second, of everybody who does such work."""
