"""Edited modules: reloaded here before a cell runs, and by workers before the first task that is submitted after it.

Strategy: when a cell begins, the files of the user's modules are looked at (a system call each; nothing while this is
off). A changed one is executed again in this kernel; its text goes to the key-value store by its hash, and the version
numbers of all edited modules travel with whatever is submitted from then on (`core.code`). A worker that sees a newer
number reloads the module from that text before it runs the task (serialization/reloading.py). So no message has to
arrive before another: a task brings along what it needs, a task that runs keeps what it has, and a worker that starts
later imports the text instead of the file. Actors keep their code.

Rejected: telling workers to reload. A task could overtake that, and workers that do not exist yet would miss it.
"""

from __future__ import annotations

import contextlib
import os
import site
import sys
import sysconfig
import traceback
import weakref
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from ..cluster.core import current
from ..cluster.core.actor_class import ActorClass
from ..cluster.core.remote_function import RemoteFunction
from ..cluster.protocol.gcs_messages import KvPut
from ..cluster.serialization.reloading import Code, ModuleText, hash_of, reload_module

if TYPE_CHECKING:
    from ..cluster.core.runtime import Core

__all__ = ["Autoreload", "autoreload_of"]

#: Where modules lie that nobody edits in the middle of a notebook.
_INSTALLED: Final = tuple(
    {
        *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        *site.getsitepackages(),
        site.getusersitepackages(),
    }
)
_OURS: Final = frozenset({"himalia", "__main__", "__mp_main__"})

_by_shell: weakref.WeakKeyDictionary[Any, Autoreload] = weakref.WeakKeyDictionary()


def autoreload_of(shell: Any) -> Autoreload:
    """The one of a shell; off until it is switched on."""
    found = _by_shell.get(shell)
    if found is None:
        found = _by_shell[shell] = Autoreload(shell)
    return found


class Autoreload:
    """Watches the modules of one shell."""

    def __init__(self, shell: Any) -> None:
        self.shell = weakref.proxy(shell)
        self.is_on = False
        self.versions: dict[str, int] = {}  # of what was reloaded
        self.failed: dict[str, str] = {}  # modules whose text can not be executed, and why
        self._stamps: dict[str, tuple[int, int]] = {}
        self._texts: dict[str, ModuleText] = {}  # that this kernel runs
        self._hashes: dict[str, str] = {}
        self._payloads: dict[str, bytes] = {}
        self._version = 0
        self._core: weakref.ref[Core] | None = None

    def switch_on(self) -> None:
        """Look at modules from now on."""
        if self.is_on:
            return
        self.is_on = True
        self._note_new()
        self.shell.events.register("pre_run_cell", self._cell_begins)
        self.shell.events.register("post_run_cell", self._cell_ended)

    def switch_off(self) -> None:
        """Look at them no more; what was reloaded stays so, also for workers."""
        if not self.is_on:
            return
        self.is_on = False
        self.shell.events.unregister("pre_run_cell", self._cell_begins)
        self.shell.events.unregister("post_run_cell", self._cell_ended)

    @property
    def watched(self) -> list[str]:
        """Names of the modules that are looked at."""
        return sorted(self._stamps)

    def describe(self) -> str:
        """What it does at this moment, in a sentence or two."""
        if not self.is_on:
            return "Autoreload is off: workers keep the modules they have imported. %cluster autoreload on"
        text = f"Autoreload is on: {len(self._stamps)} modules of yours are looked at before each cell."
        if self.versions:
            names = ", ".join(sorted(self.versions, key=lambda name: -self.versions[name]))
            text += f" Reloaded so far, the latest first: {names}."
        return text + "".join(f" {name} is broken: {why}" for name, why in self.failed.items())

    # -- events of the shell ----------------------------------------------------------------------------------------

    def _cell_begins(self, info: Any) -> None:
        self.check()

    def _cell_ended(self, result: Any) -> None:
        """Note what the cell imported, before anybody has edited it."""
        self._note_new()

    def _note_new(self) -> None:
        for name, path in _users_modules().items():
            if name not in self._stamps:
                self._stamps[name] = _stamp(path)
                with contextlib.suppress(OSError):
                    self._texts[name] = _text_of(name, path)

    def check(self) -> None:
        """Reload what has changed, and see that tasks bring it along."""
        modules = _users_modules()
        changed = []
        for name, path in modules.items():
            stamp = _stamp(path)
            before = self._stamps.setdefault(name, stamp)
            if stamp != before and stamp != _GONE:
                self._stamps[name] = stamp
                changed.append(name)
        for name in changed:
            self._reload(name, modules[name])
        if changed:
            self._refresh_remotes(set(changed))
        self._tell_core()

    def _reload(self, name: str, path: str) -> None:
        text = _text_of(name, path)
        if text == self._texts.get(name) and name not in self.failed:
            return  # written again, the same
        try:
            compile(text.text, path, "exec")
            if not self._ipython_reloads():
                reload_module(sys.modules[name], text)
        except Exception as error:  # noqa: BLE001 - whatever the user's module raises
            self.failed[name] = traceback.format_exception_only(error)[-1].strip()
            sys.stderr.write(f"[autoreload of {name} failed: {self.failed[name]}; its old code stays in force]\n")
            old = self._texts.get(name)
            if old is None or name in self.versions:
                return
            text = old  # for workers that have not imported it yet: the file is of no use to them
        else:
            self.failed.pop(name, None)
            self._texts[name] = text
        self._version += 1
        self.versions[name], self._payloads[name] = self._version, text.payload()
        self._hashes[name] = hash_of(self._payloads[name])

    def _ipython_reloads(self) -> bool:
        """Whether IPython's own autoreload does it in this kernel: then twice would be once too often."""
        theirs = self.shell.magics_manager.registry.get("AutoreloadMagics")
        return bool(getattr(getattr(theirs, "_reloader", None), "enabled", False))

    def _refresh_remotes(self, changed: set[str]) -> None:
        """Remote functions and actor classes of a reloaded module are new objects: what was imported under a name
        elsewhere becomes what they are. Those that were made elsewhere of its functions are made anew."""
        modules = [sys.modules[name].__dict__ for name in _users_modules()]
        for namespace in (self.shell.user_ns, *modules):
            for value in list(namespace.values()):
                if isinstance(value, RemoteFunction | ActorClass):
                    target = value._function if isinstance(value, RemoteFunction) else value._cls
                    _become_current(value, target, changed)

    # -- workers ----------------------------------------------------------------------------------------------------

    def _tell_core(self) -> None:
        """Have what is submitted from now on carry the versions; a core that is new is told all."""
        core = current.find_core()
        if core is None or core.fatal is not None or not self.versions:
            return
        known = core.code if self._core is not None and self._core() is core else {}
        code: Code = {name: (version, self._hashes[name]) for name, version in self.versions.items()}
        if code == known:
            return
        for name, stamp in code.items():
            if known.get(name) != stamp:
                core.gcs_send(KvPut(f"fn:{stamp[1]}".encode(), self._payloads[name]))
        core.code = code
        self._core = weakref.ref(core)


_GONE: Final = (0, 0)


def _stamp(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return _GONE
    return found.st_mtime_ns, found.st_size


def _text_of(name: str, path: str) -> ModuleText:
    return ModuleText(name, path, hasattr(sys.modules[name], "__path__"), Path(path).read_bytes())


def _users_modules() -> dict[str, str]:
    """Names and files of what was imported and is neither installed nor ours, in the order of import."""
    return {
        name: path
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] not in _OURS and (path := _file_of(module)) and not _is_installed(path)
    }


def _file_of(module: ModuleType | None) -> str:
    path = getattr(module, "__file__", None)
    return path if isinstance(path, str) and path.endswith(".py") else ""


def _is_installed(path: str) -> bool:
    return path.startswith(_INSTALLED) or f"{os.sep}site-packages{os.sep}" in path


def _become_current(value: RemoteFunction | ActorClass, target: Any, changed: set[str]) -> None:
    module = sys.modules.get(getattr(target, "__module__", None) or "")
    if module is None or module.__name__ not in changed:
        return
    fresh = getattr(module, getattr(target, "__name__", ""), None)
    if fresh is value or fresh is None:
        return
    if type(fresh) is not type(value):
        try:
            fresh = type(value)(fresh, value._options)
        except (TypeError, ValueError):  # the name means something else by now
            return
    value.__dict__.clear()
    value.__dict__.update(fresh.__dict__)
