"""Two of everything on one database and broker: what must be done once is done once."""

from concurrent.futures import ThreadPoolExecutor

from rivet.client import Client

from .beside import beside
from .rivet_home import RIVET, kill, wait_for

TWO = """
pipeline = { name = "Two", stages = {
  { name = "a", script = function() for i = 1, 5 do log.info("a" .. i) end end },
  { name = "b", script = function() process.run{command="echo", args={"b1"}} end },
} }
"""


def test_two_apis_controls_and_runners_share_the_work_and_one_of_each_may_die(make_home, free_port):
    home = make_home(environment={"RIVET_LEASE_SECONDS": "3"})
    port = free_port()
    second_home = home.folder / "second"
    others = [
        beside(home, "api", [*RIVET, "serve", "--port", str(port)], {}),
        beside(home, "control", [*RIVET, "control"], {}),
        beside(home, "runner", [*RIVET, "runner", "start", "--name", "second", "--slots", "2"],
               {"RIVET_HOME": str(second_home)}),
    ]
    try:
        other_api = Client(f"http://127.0.0.1:{port}", home.token())
        wait_for(lambda: answers(other_api), 30)
        wait_for(lambda: online(home) == 2, 30)
        submit = [home.client, other_api]

        def start(number: int) -> str:
            body = {"source": TWO, "inputs": {}}
            return submit[number % 2].call("POST", "/projects/default/pipelines/two/runs", body)["id"]

        with ThreadPoolExecutor(8) as pool:
            ids = list(pool.map(start, range(100)))
        kill(home.pid("control"))
        others[2].kill()
        for run_id in ids:
            run = home.finish(run_id, within_s=90)
            if run["status"] == "passed":
                assert home.lines(run_id) == ["a1", "a2", "a3", "a4", "a5", "b1"]
                assert [len(stage["attempts"]) for stage in run["stages"]] == [1, 1]
            else:
                assert (run["status"], run["reason"]) == ("errored", "runner_lost")
                assert "second" in {stage["runner"] for stage in run["stages"]}
        assert sum(home.run(run_id)["status"] == "passed" for run_id in ids) >= 98
        numbers = home.query("SELECT number FROM run WHERE id = ANY(%s::uuid[]) ORDER BY number", ids)
        assert numbers == [(number,) for number in range(1, 101)]
    finally:
        for process in others:
            process.kill()
            process.wait()
        home.down()


def answers(client: Client) -> bool:
    try:
        return client.request("GET", "/healthz")[0] == 200
    except Exception:  # it has not begun to listen
        return False


def online(home) -> int:
    return sum(runner["status"] == "online" for runner in home.client.call("GET", "/runners")["items"])
