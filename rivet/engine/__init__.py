"""What Rivet does: one verb a file, over the ports that `ports` names. No I/O of its own."""
