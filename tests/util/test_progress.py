"""Bars of a real cluster, drawn on a front that remembers them. Tasks end when the test has seen what it waits for."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import himalia
from himalia.cluster.core import current
from himalia.cluster.core.progress.model import Frame
from himalia.cluster.core.progress.watching import settings
from himalia.util import as_completed, map_unordered
from himalia.util import map as parallel_map
from himalia.util.progress import configure, progress

pytestmark = pytest.mark.usefixtures("cluster")


class Recorded:
    """A front that keeps what is drawn, and does something when a frame is as wanted."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.ends: list[str] = []
        self.bars = 0
        self.somewhere: Any = None
        self.ended = threading.Event()
        self.wanted: Callable[[Frame], Any] = lambda frame: False
        self.then: Callable[[], Any] = lambda: None

    def place(self) -> Any:
        return self.somewhere

    def open(self) -> Recorded:
        self.bars += 1
        return self

    def draw(self, frame: Frame) -> None:
        self.frames.append(frame)
        if self.wanted(frame):
            self.then()

    def end(self, frame: Frame) -> None:
        self.ends.append(frame.line())
        self.ended.set()

    def once(self, wanted: Callable[[Frame], Any], then: Callable[[], Any]) -> None:
        self.wanted, self.then = wanted, then

    @property
    def end_without_time(self) -> str:
        """The last line without how long it took."""
        words = self.ends[-1].split(" ")
        place = next(index for index, word in enumerate(words) if word.rstrip(":,") == "s")
        return " ".join(words[: place - 1] + words[place:])


@pytest.fixture
def front(cluster: None) -> Iterator[Recorded]:
    watch = current.get_core().watch
    assert watch is not None
    before, recorded = watch.front, Recorded()
    watch.front = recorded
    configure(after=0.3)
    yield recorded
    configure(after=2.0, enabled=True)
    watch.front = before


@pytest.fixture
def wait_for_file() -> Any:
    def wait_for_file(path: str, result: int = 0) -> int:
        import os
        import time

        while not os.path.exists(path):
            time.sleep(0.01)
        if result < 0:
            raise ValueError("negative")
        return result

    return himalia.remote(max_retries=0)(wait_for_file)


def test_a_get_that_takes_long_shows_a_bar_that_becomes_a_line(
    front: Recorded, wait_for_file: Any, tmp_path: Path
) -> None:
    file = tmp_path / "go"
    front.once(lambda frame: frame.counts.running == 2, file.touch)
    assert himalia.get([wait_for_file.remote(str(file), i) for i in range(4)]) == [0, 1, 2, 3]
    assert front.bars == 1
    assert front.frames[0].rows[0].name == "wait_for_file"
    assert front.frames[0].counts.total == 4
    assert front.end_without_time == "4 tasks of `wait_for_file` done in s"


def test_a_get_that_is_quick_shows_nothing(front: Recorded) -> None:
    configure(after=60.0)
    assert himalia.get([himalia.remote(lambda x: x).remote(i) for i in range(100)]) == list(range(100))
    assert not front.bars


def test_tasks_of_arguments_have_a_line_of_their_own(front: Recorded, wait_for_file: Any, tmp_path: Path) -> None:
    @himalia.remote
    def after(x: int) -> int:
        return x

    file = tmp_path / "go"
    front.once(lambda frame: True, file.touch)
    himalia.get([after.remote(wait_for_file.remote(str(file), i)) for i in range(3)])
    assert [(row.name, row.counts.total) for row in front.frames[0].rows] == [("wait_for_file", 3), ("after", 3)]
    assert front.end_without_time == "6 tasks done in s (3 of `wait_for_file`, 3 of `after`)"


def test_a_wait_that_returns_early_says_how_far_it_was(front: Recorded, wait_for_file: Any, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    refs = [wait_for_file.remote(str(first)), wait_for_file.remote(str(second))]
    front.once(lambda frame: True, first.touch)
    ready, rest = himalia.wait(refs)
    assert front.end_without_time == "waited s: 1 of 2 tasks of `wait_for_file` done"
    second.touch()
    himalia.get(rest + ready)


def test_a_get_whose_time_is_up_says_so(front: Recorded, wait_for_file: Any, tmp_path: Path) -> None:
    file = tmp_path / "go"
    ref = wait_for_file.remote(str(file))
    with pytest.raises(himalia.exceptions.GetTimeoutError):
        himalia.get(ref, timeout=1.0)
    assert front.end_without_time == "time was up after s: 0 of 1 task of `wait_for_file` done"
    file.touch()
    himalia.get(ref)


def test_failures_are_counted(front: Recorded, wait_for_file: Any, tmp_path: Path) -> None:
    file = tmp_path / "go"
    refs = [wait_for_file.remote(str(file), result) for result in (0, -1, 0)]
    front.once(lambda frame: True, file.touch)
    himalia.wait(refs, num_returns=3)
    assert front.end_without_time == "3 tasks of `wait_for_file` done in s, 1 failed"


def test_an_interrupt_ends_the_bar_with_a_line(front: Recorded, wait_for_file: Any, tmp_path: Path) -> None:
    file = tmp_path / "go"
    refs = [wait_for_file.remote(str(file)) for _ in range(2)]
    front.once(lambda frame: True, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        himalia.get(refs)
    assert front.end_without_time == "interrupted after s: 0 of 2 tasks of `wait_for_file` done"
    file.touch()
    front.wanted = lambda frame: False
    himalia.get(refs)


def test_waits_of_one_place_share_a_bar(front: Recorded, wait_for_file: Any, tmp_path: Path) -> None:
    front.somewhere = object()
    for name in ("first", "second"):
        file = tmp_path / name
        front.once(lambda frame: frame.counts.running, file.touch)
        himalia.get([wait_for_file.remote(str(file)) for _ in range(2)])
    assert front.bars == 1
    assert front.end_without_time == "4 tasks of `wait_for_file` done in s"
    front.somewhere = object()
    front.once(lambda frame: True, (tmp_path / "third").touch)
    himalia.get(wait_for_file.remote(str(tmp_path / "third")))
    assert front.bars == 2


def test_as_completed_shows_one_bar_for_all_its_waits(front: Recorded, wait_for_file: Any, tmp_path: Path) -> None:
    files = [tmp_path / str(i) for i in range(4)]
    front.once(lambda frame: True, lambda: files[front.frames[-1].counts.ended].touch())
    assert sorted(as_completed([wait_for_file.remote(str(file), i) for i, file in enumerate(files)])) == [0, 1, 2, 3]
    assert front.bars == 1
    assert [frame.counts.ended for frame in front.frames] == sorted(frame.counts.ended for frame in front.frames)
    assert front.end_without_time == "4 tasks of `wait_for_file` done in s"


def test_map_unordered_estimates_nothing_as_more_may_come(front: Recorded, wait_for_file: Any, tmp_path: Path) -> None:
    files = [tmp_path / str(i) for i in range(6)]
    front.once(lambda frame: True, lambda: files[front.frames[-1].counts.ended].touch())
    list(map_unordered(wait_for_file, [str(file) for file in files], backpressure_size=2))
    assert front.bars == 1
    assert all(frame.left is None for frame in front.frames)
    assert front.end_without_time == "6 tasks of `wait_for_file` done in s"


def test_map_can_be_told_what_to_show(front: Recorded, tmp_path: Path) -> None:
    def slow(path: str) -> None:
        import os
        import time

        while not os.path.exists(path):
            time.sleep(0.01)

    front.once(lambda frame: True, (tmp_path / "go").touch)
    parallel_map(slow, [str(tmp_path / "go")], description="waiting")
    assert front.end_without_time == "1 task of waiting done in s"
    parallel_map(slow, [str(tmp_path / "go")], progress=True)
    bars = front.bars
    configure(after=0.0)
    parallel_map(lambda x: x, range(100), progress=False)
    assert front.bars == bars


def test_calls_of_actors_are_named_and_as_many_run_as_the_actor_takes(front: Recorded, tmp_path: Path) -> None:
    @himalia.remote(max_concurrency=3)
    class Waiter:
        def wait(self, path: str) -> None:
            import os
            import time

            while not os.path.exists(path):
                time.sleep(0.01)

    file = tmp_path / "go"
    waiter = Waiter.remote()
    front.once(lambda frame: frame.counts.running == 3, file.touch)
    himalia.get([waiter.wait.remote(str(file)) for _ in range(5)])
    assert front.end_without_time == "5 tasks of `Waiter.wait` done in s"


def test_a_thread_shows_its_own_bar(front: Recorded, wait_for_file: Any, tmp_path: Path) -> None:
    file = tmp_path / "go"
    front.once(lambda frame: True, file.touch)
    thread = threading.Thread(target=lambda: himalia.get(wait_for_file.remote(str(file))))
    thread.start()
    thread.join()
    assert front.ends


def test_progress_of_the_background_returns_at_once_and_follows(
    front: Recorded, wait_for_file: Any, tmp_path: Path
) -> None:
    file = tmp_path / "go"
    refs = [wait_for_file.remote(str(file)) for _ in range(3)]
    front.once(lambda frame: frame.counts.running, file.touch)
    progress(refs, description="files")
    assert front.ended.wait(30)
    assert front.end_without_time == "3 tasks of files done in s"
    with pytest.raises(TypeError, match="takes ObjectRefs; got a int"):
        progress([1])


def test_progress_keeps_no_value_alive(front: Recorded, wait_for_file: Any, tmp_path: Path) -> None:
    import gc
    import weakref

    file = tmp_path / "go"
    ref = wait_for_file.remote(str(file))
    gone = weakref.ref(ref)
    progress(ref)
    file.touch()
    himalia.get(ref)
    del ref
    assert front.ended.wait(30)
    gc.collect()
    deadline = time.monotonic() + 10
    while gone() is not None and time.monotonic() < deadline:
        himalia.get(himalia.remote(lambda: 1).remote())
    assert gone() is None


def test_bars_can_be_turned_off(front: Recorded, wait_for_file: Any, tmp_path: Path) -> None:
    configure(enabled=False)
    threading.Timer(0.8, (tmp_path / "go").touch).start()
    himalia.get(wait_for_file.remote(str(tmp_path / "go")))
    assert not front.bars
    assert not settings.enabled
    with pytest.raises(ValueError, match="after must be"):
        configure(after=-1)


def test_where_nobody_looks_a_bar_is_shown_only_when_asked(
    capsys: pytest.CaptureFixture[str], wait_for_file: Any, tmp_path: Path
) -> None:
    watch = current.get_core().watch
    assert watch is not None
    assert watch.front is None
    configure(after=0.0)
    threading.Timer(0.5, (tmp_path / "one").touch).start()
    parallel_map(wait_for_file, [str(tmp_path / "one")])
    progress(wait_for_file.remote(str(tmp_path / "one")))
    configure(after=2.0)
    assert capsys.readouterr().err == ""
    threading.Timer(0.5, (tmp_path / "two").touch).start()
    parallel_map(wait_for_file, [str(tmp_path / "two")], progress=True, description="files")
    assert "1 task of files done" in capsys.readouterr().err
