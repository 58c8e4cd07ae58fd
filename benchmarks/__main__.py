"""All measurements: `make bench`."""

from benchmarks import cli, main_job, matrix, watchers

cli.main()
main_job.main()
matrix.main()
watchers.main()
