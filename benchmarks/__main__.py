"""All measurements: `make bench`."""

from benchmarks.main_job import main

main()
