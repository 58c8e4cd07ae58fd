"""The Celery app. Which tasks it has, and what its worker does beside them, depends on its role."""

import os

from rivet.dispatch import worker_app
from rivet.tasks.kombu_mend import mend_kombu

ROLE = os.environ.get("RIVET_ROLE", "runner")
"""`runner` (the default: what a plain `celery worker` is), `control`, or another that has no tasks."""

app = worker_app()
mend_kombu(app.conf.broker_url)
app.conf.include = {"control": ["rivet.tasks.control"], "runner": ["rivet.tasks.jobs"]}.get(ROLE, [])
