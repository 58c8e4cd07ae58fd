"""Backup and restore: everything of a system in one file, and from it into an empty one."""
