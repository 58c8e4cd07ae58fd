"""How a stage's processes are shut in: one file a level, and the probe that tries it on this machine."""
