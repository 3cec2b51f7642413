"""The stand-in for the supplier's HTTP API: `python -m demo.supplier`. Lean, so that it is never the bottleneck."""
