"""Blobs outside of the database: their pieces, packed, and where those are stored."""
