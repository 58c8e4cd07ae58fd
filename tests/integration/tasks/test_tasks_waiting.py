"""What waits of a queue: in its list, and taken from it by runners that live."""

from kombu import Connection, Exchange, Queue

from rivet.dispatch import Dispatch


def test_messages_are_counted_in_the_list_and_in_the_hands_of_those_that_live(redis_url):
    queues = {name: Queue(name, Exchange(""), routing_key=name) for name in ("q:default", "own:here")}

    def take(runner, name, count):
        options = {"unacked_key": f"unacked:{runner}", "unacked_index_key": f"unacked_index:{runner}"}
        connection = Connection(redis_url, transport_options=options)
        for _ in range(count):
            assert queues[name](connection.channel()).get(no_ack=False) is not None
        return connection

    with Connection(redis_url) as connection:
        producer = connection.Producer()
        for name, count in (("q:default", 6), ("own:here", 2)):
            for number in range(count):
                producer.publish({"number": number}, exchange="", routing_key=name)
    held = [take("here", "q:default", 1), take("gone", "q:default", 2), take("here", "own:here", 1)]
    dispatch = Dispatch(redis_url)
    assert dispatch.waiting("q:default", []) == 3
    assert dispatch.waiting("q:default", ["here"]) == 4
    assert dispatch.waiting("q:default", ["here", "gone", "never there"]) == 6
    assert dispatch.waiting("own:here", ["here", "gone"]) == 2
    for connection in held:
        connection.release()
