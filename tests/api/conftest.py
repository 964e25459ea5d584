"""The public API's tests take the engine that executes it as a parameter.

``pytest tests/api --engine himalia`` (the default) tests our own engine, ``--engine ray`` tests the same behaviour
on Ray itself, which proves that a test states the documented behaviour and not what we happen to do. A test receives
the API module as the fixture ``ray``, with a cluster running, and must define the functions and classes that it sends
to workers inside itself: they then travel by value, whatever import mode pytest uses.

Nothing here sleeps to synchronise: tests wait for events with the `signal` actor and poll with `eventually`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.leaks import LeakGuard

#: One cluster serves almost every test: enough CPUs to run four tasks, pretended GPUs, a custom resource, and a store
#: small enough that tests of memory need not copy gigabytes.
DEFAULT_CLUSTER: dict[str, Any] = {
    "num_cpus": 4,
    "num_gpus": 4,
    "resources": {"slot": 2},
    "object_store_memory": 200 * 1024 * 1024,
    "log_to_driver": False,
    "include_dashboard": False,
}

#: Ray starts a worker in about a second, and several at once on few cores in many more.
_PATIENCE = {"himalia": 20.0, "ray": 60.0}
_TEST_LIMIT = {"himalia": 60.0, "ray": 300.0}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--engine",
        choices=sorted(_PATIENCE),
        default=None,
        help="what executes the API tests (default: himalia, or $HIMALIA_TEST_ENGINE)",
    )


def _engine_name(config: pytest.Config) -> str:
    # The option is unknown when pytest starts above this folder, as this file is then read too late to add it.
    chosen = config.getoption("--engine", default=None)
    return str(chosen or os.environ.get("HIMALIA_TEST_ENGINE", "himalia"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "only_engine(name, reason): the behaviour exists on this engine only")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    name = _engine_name(config)
    here = os.path.dirname(os.path.abspath(__file__))
    for item in items:
        if os.path.dirname(str(item.path)) != here:
            continue
        if config.pluginmanager.hasplugin("timeout") and item.get_closest_marker("timeout") is None:
            # A signal fails the one test that hangs; the thread method would end the whole run.
            item.add_marker(pytest.mark.timeout(_TEST_LIMIT[name], method="signal"))
        if name == "ray":
            # Ray itself warns (deprecations, sockets left open); only our own engine has to be free of warnings.
            item.add_marker(pytest.mark.filterwarnings("default"))
        only = item.get_closest_marker("only_engine")
        if only is not None and only.args[0] != name:
            item.add_marker(pytest.mark.skip(reason=f"only on {only.args[0]}: {only.kwargs['reason']}"))


@dataclasses.dataclass(slots=True)
class Engine:
    """The engine under test, and the options of the cluster it runs at the moment (None: none runs)."""

    name: str
    module: ModuleType
    running: dict[str, Any] | None = None

    @property
    def patience(self) -> float:
        """Seconds after which something that should happen soon counts as never happening."""
        return _PATIENCE[self.name]

    def submodule(self, path: str) -> ModuleType:
        """Import a module below the API's, as ``util.state``."""
        return importlib.import_module(f"{self.module.__name__}.{path}")

    def start(self, options: dict[str, Any]) -> None:
        if self.running == options and self.module.is_initialized():
            return
        self.stop()
        # Never attach to a cluster that somebody else runs on this machine.
        attempts = 1 if self.name != "ray" else 3
        for attempt in range(1, attempts + 1):
            try:
                self.module.init("local", **options)
                break
            except Exception:
                # On a busy machine Ray's node can need more than the 30 s that Ray gives it.
                if attempt == attempts:
                    raise
                self.module.shutdown()
        self.running = options

    def stop(self) -> None:
        self.running = None
        if self.module.is_initialized():
            self.module.shutdown()


@contextlib.contextmanager
def _bounded_get(module: ModuleType, limit: float) -> Iterator[None]:
    """Let ``get`` without a timeout give up: while it blocks, Ray swallows the exception that pytest-timeout raises."""
    original = module.get

    @functools.wraps(original)
    def get(refs: Any, *, timeout: float | None = None) -> Any:
        return original(refs, timeout=limit if timeout is None else timeout)

    module.get = get  # type: ignore[attr-defined]
    try:
        yield
    finally:
        module.get = original  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def engine(pytestconfig: pytest.Config, leak_guard: LeakGuard) -> Iterator[Engine]:
    name = _engine_name(pytestconfig)
    with contextlib.ExitStack() as stack:
        if name == "ray":
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
            # What Ray leaves behind is removed at the end, but it is not for our tests to complain about.
            stack.enter_context(contextlib.suppress(AssertionError))
            stack.enter_context(leak_guard.shared("Ray"))
        found = Engine(name, importlib.import_module(name))
        if name == "ray":
            stack.enter_context(_bounded_get(found.module, found.patience))
        stack.callback(found.stop)
        yield found


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest, engine: Engine, leak_guard: LeakGuard) -> Iterator[Engine]:
    """A running cluster with the options of the module's ``CLUSTER``, or the default ones."""
    options = dict(getattr(request.module, "CLUSTER", DEFAULT_CLUSTER))
    if engine.name == "ray" and getattr(request.module, "NEEDS_STATE_API", False):
        # Ray answers the state API from its dashboard process.
        options["include_dashboard"] = True
    if engine.name == "ray":
        # A start of Ray takes ten seconds, so modules with the same options share one cluster there.
        engine.start(options)
        yield engine
        return
    with leak_guard.shared(f"the cluster of {request.module.__name__}"):
        engine.start(options)
        yield engine
        engine.stop()


@pytest.fixture
def ray(cluster: Engine, request: pytest.FixtureRequest) -> ModuleType:
    """The API module, with a cluster running."""
    if not cluster.module.is_initialized():
        cluster.running = None
        cluster.start(dict(getattr(request.module, "CLUSTER", DEFAULT_CLUSTER)))
    return cluster.module


@pytest.fixture
def stopped_ray(engine: Engine) -> Iterator[ModuleType]:
    """The API module without a cluster; what the test starts is shut down after it."""
    engine.stop()
    yield engine.module
    engine.stop()


@pytest.fixture
def patience(engine: Engine) -> float:
    return engine.patience


@pytest.fixture
def eventually(engine: Engine) -> Callable[..., Any]:
    """Poll until a condition holds; return its value; fail with what was seen last.

    The function may raise AssertionError to say "not yet" with a reason.
    """

    def poll(condition: Callable[[], Any], timeout: float | None = None) -> Any:
        deadline = time.monotonic() + (engine.patience if timeout is None else timeout)
        while True:
            try:
                value = condition()
                reason = f"the condition stayed {value!r}"
            except AssertionError as error:
                value, reason = None, str(error)
            if value:
                return value
            if time.monotonic() > deadline:
                pytest.fail(f"never happened: {reason}")
            time.sleep(0.02)

    return poll


@pytest.fixture
def signal(ray: ModuleType) -> Callable[[], Any]:
    """Make actors for tests to wait on: ``wait`` returns after ``send``; ``waiting`` counts those who wait."""

    class Signal:
        def __init__(self) -> None:
            import asyncio

            self.event = asyncio.Event()
            self.waiters = 0

        async def send(self, clear: bool = False) -> None:
            self.event.set()
            if clear:
                self.event.clear()

        async def wait(self) -> None:
            self.waiters += 1
            try:
                await self.event.wait()
            finally:
                self.waiters -= 1

        async def waiting(self) -> int:
            return self.waiters

    actor_class = ray.remote(num_cpus=0)(Signal)
    return lambda: actor_class.remote()


@pytest.fixture
def counter(ray: ModuleType) -> Callable[[], Any]:
    """Make actors that count and remember, which outlive the crashes of the tasks that call them."""

    class Counter:
        def __init__(self) -> None:
            self.count = 0
            self.notes: list[Any] = []

        def add(self, by: int = 1) -> int:
            self.count += by
            return self.count

        def get(self) -> int:
            return self.count

        def note(self, item: Any) -> None:
            self.notes.append(item)

        def noted(self) -> list[Any]:
            return self.notes

    actor_class = ray.remote(num_cpus=0)(Counter)
    return lambda: actor_class.remote()


@pytest.fixture
def run_program(engine: Any, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a script as a driver of its own. Further arguments are added to its environment."""

    def run(source: str, **environment: str) -> subprocess.CompletedProcess[str]:
        script = tmp_path / "program.py"
        script.write_text(source)
        inherited = {
            name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "HIMALIA_ADDRESS")
        }
        done = subprocess.run(
            [sys.executable, str(script)],
            capture_output=True,
            text=True,
            timeout=engine.patience * 2,
            env=inherited | environment,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def run_script(engine: Any, tmp_path: Path, run_program: Any) -> Any:
    """Run a script that knows the API as ``ray``; returns all it wrote. ``isolated``: it finds no running cluster."""

    def run(source: str, isolated: bool = False) -> str:
        elsewhere = {"RAY_TMPDIR": str(tmp_path), "TMPDIR": str(tmp_path)} if isolated else {}
        done = run_program(f"import {engine.name} as ray\n" + textwrap.dedent(source), **elsewhere)
        return str(done.stdout + done.stderr)

    return run
