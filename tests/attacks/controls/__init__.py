"""Controls: sandboxes that are weak on purpose. What they let through, the same checks must see.

Each case is played on a host of its own that is only pretended (namespaces, an empty /tmp, no network but its
own loopback), so that what gets out of a weak sandbox gets no further. `python -m tests.attacks.controls`
prints a table of cases and controls; cases that no control lets through stand in `never_caught.txt`, each
with the reason.
"""
