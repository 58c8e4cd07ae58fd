"""What Rivet tells those who operate it: the list of its metrics."""
