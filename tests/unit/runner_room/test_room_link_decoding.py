"""What an agent that was taken over may say to its supervisor: nothing that is believed."""

import socket
import threading

import pytest

from rivet.runner import room_link
from rivet.runner.room_link import Link, RoomLost


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    yield Link(ours), theirs
    ours.close()
    theirs.close()


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def test_a_well_formed_answer_is_read_whole(ends):
    link, agent = ends
    agent.sendall(framed(b"ended 7 -9\nrest"))
    answer = link.receive()
    assert (answer.kind, answer.ident, answer.number, answer.payload) == ("ended", 7, -9, b"rest")


@pytest.mark.parametrize(
    "sent",
    [
        framed(b"ended 1\n"),
        framed(b"become root 1\n"),
        framed(b"ended 1 1e3\n"),
        framed(b"ended 99999999999999999999 1\n"),
        framed(b"ended -1 0\n"),
        framed(b"ended \xd9\xa1 0\n"),
        framed(b""),
        (0xFFFFFFFF).to_bytes(4, "big"),
        (1 << 24).to_bytes(4, "big"),
    ],
)
def test_anything_else_loses_the_room(ends, sent):
    link, agent = ends
    agent.sendall(sent)
    with pytest.raises(RoomLost):
        link.receive()


def test_descriptors_that_come_unasked_are_not_kept(ends):
    link, agent = ends
    reader, writer = socket.socketpair()
    socket.send_fds(agent, [framed(b"ended 1 0\n")], [writer.fileno()])
    writer.close()
    link.receive()
    reader.settimeout(5)
    assert reader.recv(1) == b""


def test_an_answer_that_stops_midway_is_not_waited_for_without_end(ends, monkeypatch):
    link, agent = ends
    monkeypatch.setattr(room_link, "ANSWER_WAIT_S", 0.2)
    link = Link(link._control)
    agent.sendall(framed(b"ended 1 0\n" + bytes(100))[:20])
    with pytest.raises(RoomLost):
        link.receive()


def test_a_room_that_is_gone_is_lost_for_sending_and_for_receiving(ends):
    link, agent = ends
    agent.close()
    with pytest.raises(RoomLost):
        link.receive()
    with pytest.raises(RoomLost):
        link.send("ping", 0)


def test_requests_of_several_threads_do_not_mix(ends):
    link, agent = ends
    threads = [threading.Thread(target=lambda: [link.send("ping", 0) for _ in range(200)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    stream = agent.makefile("rb")
    sizes = set()
    for _ in range(800):
        size = int.from_bytes(stream.read(4), "big")
        sizes.add(len(stream.read(size)))
    for thread in threads:
        thread.join(10)
    assert len(sizes) == 1
