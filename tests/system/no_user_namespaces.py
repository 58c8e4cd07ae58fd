"""Become a program on a machine that gives no user namespaces: in one of our own, the last that there may be.

    python no_user_namespaces.py PROGRAM ARGUMENT…

Users are as outside, all of them where root starts it. Standard library alone.
"""

import ctypes
import os
import sys

_CLONE_NEWUSER = 0x10000000


def main() -> None:
    entered, enter = os.pipe()
    uid, gid, who = os.getuid(), os.getgid(), os.getpid()
    helper = os.fork()
    if helper == 0:
        # From outside: in there nobody has a right to users that are not in there yet.
        os.read(entered, 1)
        _map_users(who, uid, gid)
        os._exit(0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    os.write(enter, b"x")
    if os.waitstatus_to_exitcode(os.waitpid(helper, 0)[1]) != 0:
        raise SystemExit("users could not be mapped")
    with open("/proc/sys/user/max_user_namespaces", "w") as most:
        most.write("0")
    os.execvp(sys.argv[1], sys.argv[1:])


def _map_users(pid: int, uid: int, gid: int) -> None:
    everybody = "0 0 4294967295"
    if uid != 0:
        with open(f"/proc/{pid}/setgroups", "w") as groups:
            groups.write("deny")
    for name, own in (("uid_map", uid), ("gid_map", gid)):
        with open(f"/proc/{pid}/{name}", "w") as users:
            users.write(everybody if uid == 0 else f"{own} {own} 1")


if __name__ == "__main__":
    main()
