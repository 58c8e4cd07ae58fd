"""Latencies of a real system: how soon a run ends that is cancelled or lost, and how soon it is well again."""
