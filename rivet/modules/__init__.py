"""The modules of the pipeline language: each function is one declaration (`contract`)."""
