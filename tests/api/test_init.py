"""The life of a session: init, is_initialized, shutdown, init again, and what was left from before."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SMALL: dict[str, Any] = {"num_cpus": 1, "include_dashboard": False, "log_to_driver": False}


def start(api: ModuleType, **options: Any) -> Any:
    return api.init("local", **{**SMALL, **options})


def test_init_and_shutdown_are_visible(stopped_ray: ModuleType) -> None:
    assert not stopped_ray.is_initialized()
    start(stopped_ray)
    assert stopped_ray.is_initialized()
    assert stopped_ray.cluster_resources()["CPU"] == 1
    stopped_ray.shutdown()
    assert not stopped_ray.is_initialized()


def test_shutdown_may_be_called_at_any_time(stopped_ray: ModuleType) -> None:
    stopped_ray.shutdown()
    start(stopped_ray)
    stopped_ray.shutdown()
    stopped_ray.shutdown()


def test_a_second_init_is_an_error_unless_ignored(stopped_ray: ModuleType) -> None:
    start(stopped_ray)
    with pytest.raises(RuntimeError, match="ignore_reinit_error"):
        start(stopped_ray)
    start(stopped_ray, num_cpus=3, ignore_reinit_error=True)
    assert stopped_ray.cluster_resources()["CPU"] == 1


def test_after_shutdown_a_new_session_starts_and_old_functions_and_classes_work(stopped_ray: ModuleType) -> None:
    api = stopped_ray

    @api.remote
    def f() -> int:
        return 1

    @api.remote
    class Thing:
        def g(self) -> int:
            return 2

    for _ in range(2):
        start(api)
        assert api.get(f.remote()) == 1
        assert api.get(Thing.remote().g.remote()) == 2
        api.shutdown()


def test_references_and_handles_of_an_old_session_are_refused(stopped_ray: ModuleType) -> None:
    api = stopped_ray

    @api.remote
    class Thing:
        def ping(self) -> None: ...

    start(api)
    ref, thing = api.put("old"), Thing.remote()
    api.get(thing.ping.remote())
    api.shutdown()
    start(api)
    # Which exception it is, the documentation does not say; but it must not be a wait for what never comes.
    with pytest.raises(Exception, match=r".") as of_reference:
        api.get(ref, timeout=60)
    with pytest.raises(Exception, match=r".") as of_handle:
        api.get(thing.ping.remote(), timeout=60)
    assert not isinstance(of_reference.value, TimeoutError)
    assert not isinstance(of_handle.value, TimeoutError)
    assert api.get(api.put("new")) == "new"


def test_the_namespace_of_the_session_is_that_of_its_actors(stopped_ray: ModuleType) -> None:
    api = stopped_ray

    @api.remote
    class Thing:
        def namespace(self) -> Any:
            return api.get_runtime_context().namespace

    start(api, namespace="mine")
    thing = Thing.options(name="named").remote()
    assert api.get(thing.namespace.remote()) == "mine"
    assert api.get_runtime_context().namespace == "mine"
    assert api.get_actor("named", namespace="mine") == thing or api.get_actor("named", namespace="mine")
    with pytest.raises(ValueError):
        api.get_actor("named", namespace="other")


def test_the_runtime_env_of_the_session_reaches_all_tasks_and_actors(stopped_ray: ModuleType, tmp_path: Path) -> None:
    api = stopped_ray
    (tmp_path / "module_of_the_test.py").write_text("ANSWER = 42\n")
    (tmp_path / "data.txt").write_text("from the working directory")

    @api.remote
    def look() -> Any:
        import module_of_the_test

        with open("data.txt") as file:
            return os.environ["SESSION_VARIABLE"], module_of_the_test.ANSWER, file.read()

    @api.remote
    class Thing:
        def look(self) -> Any:
            return os.environ["SESSION_VARIABLE"]

    start(api, runtime_env={"env_vars": {"SESSION_VARIABLE": "set"}, "working_dir": str(tmp_path)})
    assert api.get(look.remote()) == ("set", 42, "from the working directory")
    assert api.get(Thing.remote().look.remote()) == "set"


def test_tasks_inherit_the_environment_of_the_driver(stopped_ray: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIVER_VARIABLE", "inherited")
    start(stopped_ray)

    @stopped_ray.remote
    def look() -> Any:
        return os.environ.get("DRIVER_VARIABLE")

    assert stopped_ray.get(look.remote()) == "inherited"


def test_the_size_of_the_object_store_can_be_chosen(stopped_ray: ModuleType) -> None:
    start(stopped_ray, object_store_memory=100 * 1024 * 1024)
    size = stopped_ray.cluster_resources()["object_store_memory"]
    assert 90 * 1024 * 1024 <= size <= 101 * 1024 * 1024


def test_using_the_api_starts_a_session(engine: Any, run_script: Any) -> None:
    out = run_script(
        """
        @ray.remote
        def f():
            return 1

        assert not ray.is_initialized()
        print("got", ray.get(f.remote()))
        assert ray.is_initialized()
        """
    )
    assert "got 1" in out


def test_output_of_tasks_and_actors_reaches_the_driver(run_script: Any) -> None:
    out = run_script(
        """
        import time

        ray.init("local", num_cpus=1, include_dashboard=False)

        @ray.remote
        def speak():
            print("printed by the task")

        @ray.remote
        class Speaker:
            def speak(self):
                import sys
                print("printed by the actor", file=sys.stderr)

        speaker = Speaker.remote()
        ray.get([speak.remote(), speaker.speak.remote()])
        time.sleep(2)
        ray.shutdown()
        """
    )
    assert "printed by the task" in out
    assert "printed by the actor" in out


def test_output_stays_away_from_the_driver_when_asked(run_script: Any) -> None:
    out = run_script(
        """
        import time

        ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)

        @ray.remote
        def speak():
            print("printed by the task")

        ray.get(speak.remote())
        time.sleep(1)
        """
    )
    assert "printed by the task" not in out


def test_a_script_may_end_without_shutdown(run_script: Any) -> None:
    out = run_script(
        """
        ray.init("local", num_cpus=1, include_dashboard=False)

        @ray.remote
        class Thing:
            def ping(self):
                return "pong"

        thing = Thing.remote()
        print(ray.get(thing.ping.remote()))
        """
    )
    assert "pong" in out


def test_several_drivers_share_one_cluster(stopped_ray: ModuleType, run_script: Any) -> None:
    api = stopped_ray
    context = start(api, num_cpus=2, namespace="shared")

    @api.remote
    class Box:
        def __init__(self) -> None:
            self.content: Any = None

        def set(self, content: Any) -> None:
            self.content = content

        def get(self) -> Any:
            return self.content

    box = Box.options(name="box").remote()
    api.get(box.get.remote())
    address = context.address_info["address"]
    out = run_script(
        f"""
        ray.init({address!r}, namespace="shared")
        ray.get(ray.get_actor("box").set.remote("from the other driver"))
        print("jobs differ", ray.get_runtime_context().get_job_id() != {api.get_runtime_context().get_job_id()!r})
        """
    )
    assert "jobs differ True" in out
    assert api.get(box.get.remote()) == "from the other driver"


@pytest.mark.only_engine("himalia", reason="Ray looks for clusters among all processes of the machine")
def test_attaching_to_no_cluster_is_a_connection_error(run_script: Any) -> None:
    out = run_script(
        """
        try:
            ray.init("auto")
        except ConnectionError as error:
            print("refused", type(error).__name__)
        """,
        isolated=True,
    )
    assert "refused" in out


def test_resources_cannot_be_given_when_attaching(stopped_ray: ModuleType, run_script: Any) -> None:
    context = start(stopped_ray)
    out = run_script(
        f"""
        try:
            ray.init({context.address_info["address"]!r}, num_cpus=3)
        except ValueError as error:
            print("refused:", error)
        """
    )
    assert "refused:" in out


def test_init_refuses_unknown_arguments(stopped_ray: ModuleType) -> None:
    with pytest.raises((RuntimeError, TypeError), match="no_such_argument"):
        stopped_ray.init("local", no_such_argument=1)
    assert not stopped_ray.is_initialized()


@pytest.mark.only_engine("himalia", reason="Ray has these")
@pytest.mark.parametrize(
    "option",
    [
        {"local_mode": True},
        {"cgroup_path": "/sys/fs/cgroup"},
        {"system_reserved_cpu": 0.5},
        {"logging_level": "loud"},
    ],
    ids=lambda option: next(iter(option)),
)
def test_what_is_not_supported_is_refused_by_name(stopped_ray: ModuleType, option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        stopped_ray.init("local", **option)
    assert not stopped_ray.is_initialized()


def test_where_a_dashboard_that_is_not_wanted_would_be_does_not_matter(stopped_ray: ModuleType) -> None:
    start(stopped_ray, dashboard_host="0.0.0.0", dashboard_port=8265)
    assert stopped_ray.is_initialized()


@pytest.mark.only_engine("himalia", reason="Ray's dashboard has no login, and takes seconds to start")
def test_the_context_says_where_the_dashboard_is(stopped_ray: ModuleType) -> None:
    context = stopped_ray.init("local", num_cpus=1, dashboard_port=0)
    assert context.dashboard_url.startswith("127.0.0.1:")
    assert context.address_info["webui_url"] == context.dashboard_url
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"http://{context.dashboard_url}/", timeout=20)
    caught.value.close()
    assert caught.value.code == 401


@pytest.mark.only_engine("himalia", reason="Ray's is there in any case")
def test_without_a_dashboard_there_is_no_url(stopped_ray: ModuleType) -> None:
    assert stopped_ray.init("local", num_cpus=1, include_dashboard=False).dashboard_url is None


@pytest.mark.only_engine("himalia", reason="Ray leaves them out of account")
@pytest.mark.parametrize(
    "option", [{"include_dashboard": True}, {"dashboard_port": 8265}, {"dashboard_host": "0.0.0.0"}], ids=str
)
def test_where_the_dashboard_is_can_not_be_said_of_a_cluster_that_runs(
    stopped_ray: ModuleType, option: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(option))} is a property of a new cluster"):
        stopped_ray.init("auto", **option)


def test_shutdown_can_be_told_to_wait_for_processes(stopped_ray: ModuleType) -> None:
    start(stopped_ray)
    stopped_ray.shutdown(wait_for_processes=True)
    assert not stopped_ray.is_initialized()


def test_functions_take_the_names_of_rays_parameters(stopped_ray: ModuleType) -> None:
    api = stopped_ray
    start(api, logging_level=30)
    ref = api.put(object())
    assert api.wait(ray_waitables=[ref], num_returns=1, timeout=None, fetch_local=True) == ([ref], [])
    assert api.get(object_refs=[api.put(1)], timeout=5) == [1]
    api.cancel(ray_waitable=ref, force=False, recursive=True)
    node = api.get_runtime_context().node_id
    assert type(node).from_hex(node.hex()) == node == type(node).from_binary(node.binary())
