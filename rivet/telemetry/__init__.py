"""What Rivet tells those who operate it: the list of its metrics, and how its parts log."""
