"""All measurements: `make bench`."""

from benchmarks import main_job, matrix

main_job.main()
matrix.main()
