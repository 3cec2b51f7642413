"""The demo's reports, one module each; `[reports.<name>]` in config/queues.toml names it."""
