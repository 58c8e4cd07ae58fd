"""Where strangers' code runs: a confined Lua child for each script, and the rooms of a stage's processes."""
