"""What a forked child does first, whatever it is to become.

Strategy: the host is single-threaded and holds no lock, so a child may run Python at once. It first ties its life to
the host's (the kernel signals it when the host ends, however that ends), then closes every descriptor it was not given,
and only then looks at anything else.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import random
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Final, NoReturn

__all__ = ["become", "fork", "let_look", "redirect", "set_title", "tie_to_parent"]

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15
_PR_SET_PTRACER: Final = 0x59616D61
_FIRST_OPEN: Final = 3
_LOG_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND

_libc: Final = ctypes.CDLL(None, use_errno=True)


def tie_to_parent(parent: int, death_signal: int) -> None:
    """Have the kernel send ``death_signal`` when the parent ends; leave at once if it ended already."""
    if _libc.prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl(PR_SET_PDEATHSIG): {os.strerror(error)}")
    if os.getppid() != parent:
        os._exit(1)


def let_look(process: int) -> None:
    """Let this process and its descendants look at us with a debugger, where Yama lets only ancestors.

    So the raylet can run py-spy on its sisters. It opens nothing: they all work for one user and know the cluster's
    key. Without Yama the kernel does not know the request, and none is needed.
    """
    _libc.prctl(_PR_SET_PTRACER, process, 0, 0, 0)


def set_title(name: str) -> None:
    """The name that `top` shows; the kernel keeps 15 bytes."""
    _libc.prctl(_PR_SET_NAME, name.encode()[:15] + b"\0", 0, 0, 0)


def redirect(stdout: str, stderr: str) -> None:
    """Append the standard streams to files (the same file for both, if the paths are equal)."""
    for path, fd in ((stdout, 1), (stderr, 2)):
        log = os.open(path, _LOG_FLAGS, 0o600)
        os.dup2(log, fd)
        os.close(log)


def _close_all_but(kept: tuple[int, ...]) -> None:
    start = _FIRST_OPEN
    for fd in sorted(kept):
        os.closerange(start, fd)
        start = fd + 1
    os.closerange(start, os.sysconf("SC_OPEN_MAX"))


def _reseed() -> None:
    """Two workers must not draw the same numbers. (Python reseeds `random` itself; numpy does not.)"""
    random.seed()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def fork(run: Callable[[], NoReturn]) -> int:
    """Fork; the child calls ``run``, the parent gets its process id."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        run()
    return pid


def become(
    main: Callable[[], object],
    *,
    parent: int,
    death_signal: int,
    title: str,
    stdout: str,
    stderr: str,
    keep: tuple[int, ...] = (),
    env: dict[str, str] | None = None,
    cwd: str = "",
) -> NoReturn:
    """In a forked child: set it up, run ``main``, leave with its result (None: 0) as exit code. Does not return."""
    code = 1
    try:
        tie_to_parent(parent, death_signal)
        let_look(parent)
        os.setpgid(0, 0)  # so that what it starts can be ended with it
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _close_all_but(keep)
        redirect(stdout, stderr)
        set_title(title)
        _reseed()
        if env:
            os.environ.update(env)
        if cwd:
            os.chdir(cwd)
        gc.enable()
        result = main()
        code = result if isinstance(result, int) else 0
    except SystemExit as leave:
        code = leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    except BaseException:  # noqa: BLE001 the frames above belong to the host: nothing may reach them
        traceback.print_exc()
    finally:
        try:
            # What libraries and users registered in this process; Python's own end would also run the host's `finally`.
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)
