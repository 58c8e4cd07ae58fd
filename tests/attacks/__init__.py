"""Attacks: cases that try to get out of a stage, each run through a whole system and judged afterwards.

`python -m tests.attacks --help` says what can be asked for; the format of the cases stands at the head of
`given.lua.txt`.
"""
