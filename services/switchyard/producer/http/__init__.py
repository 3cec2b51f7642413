"""The HTTP door: requests come in from uvicorn, accepted events and what became of their workflows go out."""
