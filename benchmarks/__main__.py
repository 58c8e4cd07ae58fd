"""All measurements: `make bench`."""

from benchmarks import cli, main_job, matrix, one_run, sandbox, watchers

cli.main()
main_job.main()
one_run.main()
matrix.main()
sandbox.main()
watchers.main()
