"""All measurements: `make bench`."""

from benchmarks import cli, main_job, matrix, sandbox

cli.main()
main_job.main()
matrix.main()
sandbox.main()
