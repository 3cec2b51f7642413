"""What processes need that have nothing to do: memory, and the time and processor of a start."""
