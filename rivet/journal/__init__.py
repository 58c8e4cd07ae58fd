"""The journal's way: spool on the runner's disk, a stream in Redis, and the live tail for those who watch."""
