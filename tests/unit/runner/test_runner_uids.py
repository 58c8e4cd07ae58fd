"""User ids of workspaces: each has its own, while others come and go."""

from rivet.runner.uids import StageUids


def test_a_workspace_keeps_its_id_and_no_other_has_it(tmp_path):
    uids = StageUids(tmp_path, 200, 210, by_root=True)
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    assert [uids.of(first), uids.of(second), uids.of(first)] == [200, 201, 200]


def test_a_workspace_that_goes_while_ids_are_looked_at_is_passed_over(tmp_path):
    gone, new = tmp_path / "gone", tmp_path / "new"
    for folder in (gone, new):
        folder.mkdir()
    (gone / "uid").symlink_to("cleaned-up")
    assert StageUids(tmp_path, 200, 210, by_root=True).of(new) == 200


def test_an_ordinary_users_runner_has_one_user_for_all(tmp_path):
    uids = StageUids(tmp_path, 200, 210, by_root=False)
    assert (uids.of(tmp_path), uids.of_lua) == (None, None)
