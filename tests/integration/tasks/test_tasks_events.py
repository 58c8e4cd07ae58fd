"""Celery's events go out several at a time, over a real Redis, and none is missing."""

import threading
from types import SimpleNamespace
from uuid import UUID

import pytest
import redis
from celery import Celery
from celery.events import EventReceiver

from rivet.dispatch import plain_queues, publish_chain
from rivet.dispatch.sent_events import gather_sent_events
from rivet.domain.ids import Epoch, JobId, StageKey
from rivet.tasks.events import gather_events


@pytest.fixture
def app(redis_url) -> Celery:
    app = plain_queues(Celery("events", broker=redis_url, set_as_current=False))
    app.conf.update(task_create_missing_queues=True, task_send_sent_event=True)
    return app


def heard(app, count, send):
    """The events that a listener such as Flower gets of what `send` does."""
    got, ready, done = [], threading.Event(), threading.Event()

    def take(event):
        got.append(event)
        if len(got) == count:
            done.set()

    class Listener(EventReceiver):
        def on_consume_ready(self, *arguments, **more):
            ready.set()

    def listen():
        with app.connection_for_read() as connection:
            listener = Listener(connection, handlers={"*": take}, app=app)
            for _ in listener.consume(limit=None, timeout=10, wakeup=False):
                if done.is_set():
                    return

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    assert ready.wait(10)
    send()
    assert done.wait(10)
    thread.join(15)
    return got


def test_that_messages_were_sent_is_told_of_each_and_in_one_message(app, redis_url):
    gather_sent_events(app)
    published = redis.Redis.from_url(redis_url).pubsub()
    published.psubscribe("*celeryev*")

    def send():
        for number in range(5):
            app.send_task("nothing", task_id=f"n{number}", queue="q:nowhere")

    got = heard(app, 5, send)
    assert [(event["type"], event["uuid"], event["queue"]) for event in got] == [
        ("task-sent", f"n{number}", "q:nowhere") for number in range(5)
    ]
    told = [published.get_message(timeout=0.1) for _ in range(4)]
    messages = [one for one in told if one is not None and one["type"] == "pmessage"]
    assert [one["channel"].rpartition(b"/")[2] for one in messages] == [b"task.multi"]


def test_a_stage_is_called_by_its_key_whoever_is_heard_first(app):
    """Its worker calls it so; what was sent may be told after that, and Flower takes the name told last."""
    gather_sent_events(app)
    job = JobId(UUID(int=7))
    stages = [(StageKey("a:b"), "A")]
    [event] = heard(app, 1, lambda: publish_chain(app, job, Epoch(1), stages, queue="own:x", label="p#1"))
    assert (event["uuid"], event["name"]) == (f"s:{job}:1:a:b", "run_stage[a:b]")


def test_where_redis_is_away_what_was_sent_is_not_told_and_nothing_breaks(caplog):
    away = Celery("away", broker="redis://127.0.0.1:1/0", set_as_current=False)
    gather_sent_events(away)
    sent = away.amqp._event_dispatcher
    with caplog.at_level("INFO"):
        sent.publish("task-sent", {"uuid": "n", "name": "nothing"}, None)
        sent.send_waiting()
    assert "1 events of sent messages are not told" in caplog.text


def test_a_worker_sends_what_it_has_gathered_with_one_timer():
    timers, flushed = [], []
    dispatcher = SimpleNamespace(on_send_buffered=None, flush=lambda: flushed.append(True))
    timer = SimpleNamespace(call_after=lambda seconds, work: timers.append((seconds, work)))
    consumer = SimpleNamespace(event_dispatcher=dispatcher, timer=timer, on_send_event_buffered=None)
    gather_events(consumer)
    for _ in range(3):
        dispatcher.on_send_buffered()
    [(seconds, send)] = timers
    assert 0 < seconds <= 0.1
    send()
    consumer.on_send_event_buffered()
    assert (len(flushed), len(timers)) == (1, 2)
    consumer.event_dispatcher = None  # while the connection is away
    send()
    assert len(flushed) == 1
