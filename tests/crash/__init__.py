"""Crash points: a process of the real system ends itself at an exact place, and what must hold afterwards."""
