"""A job on a runner: its folder, its lease, its journal, its room, and the recipe that uses them."""
