"""Results by name that outlive the process which asked for them.

Strategy: whoever submits a task owns its result and takes both along when it dies. So what is to be kept is submitted
by somebody else: the keeper, a detached actor of the cluster, which is made when it is first needed. It runs the task
as its own child, so the task goes on, is retried, and its result stays readable, whatever becomes of the notebook. What
a kept task needs is given to the keeper as values: a reference that the notebook owns would die with it.

Rejected: moving ownership of a running task. Its worker, the raylets and every borrower know its owner by the id of the
object. Rejected: a file for each result. What is large lies in the object store already, and a value that was never
pickled to disk needs no format that outlives a release.
"""

from __future__ import annotations

import time
from typing import Any, Final

import msgspec

import himalia
from himalia.cluster.core import session
from himalia.cluster.core.actor_class import ActorHandle
from himalia.cluster.core.current import get_core
from himalia.cluster.core.refs import ERROR, ObjectRef
from himalia.cluster.core.remote_function import RemoteFunction
from himalia.cluster.serialization.reloading import Code

__all__ = ["Keeper", "KeptResult", "forget", "keep", "kept"]

_NAME: Final = "himalia keeper"
_NAMESPACE: Final = "himalia"


class KeptResult(msgspec.Struct, kw_only=True):
    """One result that the cluster keeps.

    Attributes
    ----------
    name
        That was given to `keep`.
    state
        ``running``, ``done`` or ``failed``.
    function
        Name of the function; empty for the value of a reference.
    job, message, cell, source
        The job and the notebook's cell that asked for it (0: none), and the cell's text.
    submitted, ended
        Seconds since 1970; ``ended`` is 0 while it runs.
    ref
        Its reference: `get` gives the value, or raises the error.
    """

    name: str
    state: str = "running"
    function: str = ""
    job: bytes = b""
    message: str = ""
    cell: int = 0
    source: str = ""
    submitted: float = 0.0
    ended: float = 0.0
    ref: Any = None


class Keeper:
    """The actor that owns what is kept."""

    def __init__(self) -> None:
        self._kept: dict[str, KeptResult] = {}

    def run(self, note: dict[str, Any], code: Code, function: RemoteFunction, names: list[str], *values: Any) -> None:
        """Submit a task and keep its result; the last values are those of the named arguments."""
        if code:
            get_core().executor.adopt(code)  # what is edited here is what our tasks run
        positional = len(values) - len(names)
        kwargs = dict(zip(names, values[positional:], strict=True))
        self._add(KeptResult(**note), function.remote(*values[:positional], **kwargs))

    def take(self, note: dict[str, Any], refs: list[ObjectRef]) -> None:
        """Keep the value of somebody else's reference, as soon as there is one: a task of ours returns it."""
        self._add(KeptResult(**note), himalia.remote(_same).options(num_cpus=0, name="keep").remote(refs[0]))

    def _add(self, result: KeptResult, ref: ObjectRef) -> None:
        result.ref = ref
        self._kept[result.name] = result

        def ended() -> None:
            result.ended = time.time()
            result.state = "failed" if ref._state == ERROR else "done"

        get_core().when_ready(ref, ended)

    def results(self, name: str = "") -> list[KeptResult]:
        """What is kept, or that of one name, in the order of submission."""
        found = [result for result in self._kept.values() if name in ("", result.name)]
        return sorted(found, key=lambda result: result.submitted)

    def drop(self, name: str) -> bool:
        """Keep it no longer; False if it was not kept. A task that still runs is cancelled."""
        result = self._kept.pop(name, None)
        if result is not None and result.state == "running":
            himalia.cancel(result.ref)
        return result is not None


def _same(value: Any) -> Any:
    return value


def keep(name: str, what: Any, /, *args: Any, **kwargs: Any) -> ObjectRef:
    """Have the cluster keep a result under a name, for this process and those that come after it.

    Parameters
    ----------
    name
        Of the result; one that is kept under it already is dropped.
    what
        A remote function, which is called with the other arguments: its task and result live on when this process
        ends. Or a reference: its value is kept as soon as it is there, but what is still running for it ends with
        this process.
    *args, **kwargs
        For the function. Values that references stand for are waited for and copied.

    Returns
    -------
    ObjectRef
        To the result, as long as this process lives. Another finds it by `kept`.

    Raises
    ------
    RuntimeError
        The cluster ends with this process.
    TypeError
        ``what`` is neither a remote function nor a reference, or the function has not exactly one return.
    """
    keeper = _keeper()
    core = get_core()
    cell = core.current_cell()
    number = cell.execution if cell is not None else 0
    note = {
        "name": name,
        "job": core.job_id,
        "message": cell.message_id if cell is not None else "",
        "cell": number,
        "source": next((text for hook in session.cell_texts if (text := hook(number))), "") if number else "",
        "submitted": time.time(),
    }
    if isinstance(what, ObjectRef):
        if args or kwargs:
            raise TypeError("keep() of a reference takes no further arguments: these are for a remote function")
        himalia.get(keeper.take.remote(note, [what]))
        return what
    if not isinstance(what, RemoteFunction):
        raise TypeError(f"keep() takes a remote function or an ObjectRef, not a {type(what).__name__}")
    if what._shared.is_generator or what._options.get("num_returns", 1) != 1:
        raise TypeError("keep() takes a function with one return: a list, if there are several values")
    what._signature.check(args, kwargs)
    # References at the top level: what they stand for is in place when the keeper is called, and copied by its call.
    himalia.get(
        keeper.run.remote({**note, "function": what._name}, core.code, what, list(kwargs), *args, *kwargs.values())
    )
    found = kept(name)
    assert isinstance(found, ObjectRef)
    return found


def kept(name: str | None = None) -> Any:
    """The reference of the result that is kept under a name; without one, all that is kept (`KeptResult`).

    Raises
    ------
    KeyError
        Nothing is kept under that name.
    """
    results: list[KeptResult] = himalia.get(_keeper().results.remote(name or ""))
    if name is None:
        return results
    if not results:
        known = ", ".join(result.name for result in kept()) or "nothing"
        raise KeyError(f"nothing is kept under {name!r}; kept are: {known}")
    return results[0].ref


def forget(name: str) -> None:
    """Keep a result no longer. A task that still runs for it is cancelled.

    Raises
    ------
    KeyError
        Nothing is kept under that name.
    """
    if not himalia.get(_keeper().drop.remote(name)):
        raise KeyError(f"nothing is kept under {name!r}")


def _keeper() -> ActorHandle:
    """The cluster's keeper; made when it is first asked for."""
    live = session.current_session()
    if live is not None and live.cluster is not None:
        raise RuntimeError(
            "this cluster ends with this process, so it can keep nothing: start it with %cluster start --keep in a "
            "notebook, or join one that was started with `himalia start --head`"
        )
    handle: ActorHandle = (
        himalia.remote(Keeper)
        .options(
            name=_NAME,
            namespace=_NAMESPACE,
            get_if_exists=True,
            lifetime="detached",
            num_cpus=0,
            allow_out_of_order_execution=True,  # who waits for arguments does not hold up others
        )
        .remote()
    )
    return handle
