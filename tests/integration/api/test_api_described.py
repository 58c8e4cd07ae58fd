"""Every route that the application serves is in the document that describes it."""

import re

from rivet.api import __name__ as package
from rivet.app import app_with


def test_no_endpoint_is_undocumented():
    app = app_with(None)
    paths = {re.sub(r"{[^}]*}", "*", path): operations for path, operations in app.spec["paths"].items()}
    bare = []
    for rule in app.url_map.iter_rules():
        if not app.view_functions[rule.endpoint].__module__.startswith(package):
            continue
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            said = paths.get(re.sub(r"<[^>]*>", "*", rule.rule), {}).get(method.lower(), {})
            if not said.get("summary"):
                bare.append(f"{method} {rule.rule}")
    assert bare == []
