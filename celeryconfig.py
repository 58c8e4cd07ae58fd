"""Celery's settings, all in one place. What each is for was measured; `docs/adr/0002-celery.md` says how."""

import os

from kombu import Exchange, Queue

from rivet.domain.runner import shared_queue_of
from rivet.wiring.settings import Settings

_settings = Settings()
_role = os.environ.get("RIVET_ROLE", "runner")
_name = _settings.runner_name if _role == "runner" else _role

broker_url = _settings.broker_url or "redis://127.0.0.1:6379/0"
result_backend = broker_url

# Queues are Redis lists of their own name, by the default exchange: no shared binding keys in Redis.
# A worker is told by -Q which it serves; the runner's own list is put first when it starts.
_served = ["control"] if _role == "control" else [shared_queue_of(name) for name in _settings.queues]
task_queues = [Queue(name, Exchange(""), routing_key=name) for name in _served]
task_default_queue = _served[0]
task_default_exchange = ""
task_default_routing_key = _served[0]
task_create_missing_queues = True
worker_concurrency = _settings.slots

# A message is acknowledged when its task has ended, and goes back where a slot dies: the claim and the
# marks in the job's folder make a second delivery harmless.
task_acks_late = True
task_reject_on_worker_lost = True
worker_prefetch_multiplier = 1

# The keys of unacknowledged messages are the runner's own, so that it can take back what it held when it
# died. The visibility timeout is longer than any stage: redelivery by age is not relied on.
broker_transport_options = {
    "queue_order_strategy": "priority",
    "visibility_timeout": 604800,
    "unacked_key": f"unacked:{_name}",
    "unacked_index_key": f"unacked_index:{_name}",
    "unacked_mutex_key": f"unacked_mutex:{_name}",
}
result_backend_transport_options = {"visibility_timeout": 604800}

# An outage of Redis must end no worker and no chain: it is waited for.
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
broker_channel_error_retry = True
task_publish_retry_policy = {"max_retries": 600, "interval_start": 0, "interval_step": 0.2, "interval_max": 5}
worker_cancel_long_running_tasks_on_connection_loss = False
worker_enable_prefetch_count_reduction = True
worker_soft_shutdown_timeout = 10

# JSON only. Results are kept for stages alone, and for a while: the database is the truth.
task_serializer = result_serializer = "json"
accept_content = ["json"]
task_ignore_result = True
result_expires = 600

# What Flower shows; the queue that a link was sent to is told by the event of its sending alone.
worker_send_task_events = True
task_send_sent_event = True
worker_hijack_root_logger = False
worker_enable_remote_control = _role != "control"
