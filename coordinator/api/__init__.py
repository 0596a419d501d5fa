"""The REST interface and its streams: HTTP in, the engine's port out."""
