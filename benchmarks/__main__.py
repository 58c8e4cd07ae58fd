"""All measurements: `make bench`."""

from benchmarks import main_job, matrix, watchers

main_job.main()
matrix.main()
watchers.main()
