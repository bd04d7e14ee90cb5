"""`dod` for tests, many times over: a process that has it loaded forks for each.

As a script, `quick_dod.py SOCKET` is that process, and `quick_dod.py SOCKET WORD…` a command. Its files,
folder, environment, exit code and signals are as if it ran by itself.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from typing import Any

LONGEST = 1_000_000


def served(path: str) -> None:
    """Take commands until standard input ends, which is when whoever started it does."""
    import gc  # noqa: PLC0415 -- a command must start quickly
    import importlib  # noqa: PLC0415
    import pkgutil  # noqa: PLC0415
    import select  # noqa: PLC0415

    # All of it, and the command line built: what a command loads by itself, it loads each time.
    for package in ("store", "ingest", "api"):
        found = importlib.import_module(package)
        for module in pkgutil.walk_packages(found.__path__, f"{package}."):
            importlib.import_module(module.name)
    command_line: Any = sys.modules["api.cli.main"]
    command_line._command_line()
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(16)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        print("ready", flush=True)  # noqa: T201 -- to whoever started it
        while listening in select.select([listening, sys.stdin], [], [])[0]:
            connection, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _watch(connection)
            connection.close()


def _watch(connection: socket.socket) -> None:
    """Run the command in a process of its own, whose end is told however it comes."""
    said, files, _, _ = socket.recv_fds(connection, LONGEST, 3)
    pid = os.fork()
    if pid == 0:
        connection.close()
        _run(said, files)
    for file in files:
        os.close(file)
    code = -signal.SIGKILL
    try:
        connection.send(b"%d\n" % pid)
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        connection.send(b"%d\n" % code)
    finally:
        os._exit(0)


def _run(said: bytes, files: list[int]) -> None:
    words, folder, environment, before = json.loads(said)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["dod", *words]
    code = 1
    try:
        exec(before, {"__name__": "__main__"})  # noqa: S102 -- a test's own
        sys.modules["api.cli.main"].main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:  # noqa: BLE001 -- as the interpreter does at the end of a program
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def asked(path: str, words: list[str]) -> int:
    """Have one command run; its exit code."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        said = json.dumps([words, os.getcwd(), dict(os.environ), ""]).encode()  # noqa: PTH109
        socket.send_fds(connection, [said], [0, 1, 2])
        with connection.makefile() as answers:
            pid = int(answers.readline())
            for one in (signal.SIGTERM, signal.SIGINT):
                signal.signal(one, lambda number, _: os.kill(pid, number))
            code = int(answers.readline() or 1)
            return code if code >= 0 else 128 - code


if __name__ == "__main__":
    _, at, *arguments = sys.argv
    if arguments:
        sys.exit(asked(at, arguments))
    served(at)
