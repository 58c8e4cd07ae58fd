"""Chaos: the real system, its parts killed at random moments, and what must hold afterwards."""
