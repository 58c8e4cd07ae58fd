"""The HTTP API: one file a resource; each parses, calls one verb, and answers."""
