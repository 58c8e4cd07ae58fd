"""All measurements: `make bench`."""

from benchmarks import cli, main_job, matrix, sandbox, watchers

cli.main()
main_job.main()
matrix.main()
sandbox.main()
watchers.main()
