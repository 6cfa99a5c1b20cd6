"""A thread pool that serves groups of tasks in turn: a group with many tasks delays no other."""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class FairExecutor:
    """A few threads. The groups take turns, and the tasks of a group run in order."""

    def __init__(self, threads: int, name: str) -> None:
        # threads start with the first task
        self._executor = ThreadPoolExecutor(threads, name)
        self._lock = threading.Lock()
        # ordered: the first group has the next turn
        self._tasks: OrderedDict[Hashable, deque[tuple[Callable[[], Any], Future[Any]]]]
        self._tasks = OrderedDict()

    def submit(self, group: Hashable, task: Callable[[], Any]) -> Future[Any]:
        """Run a task of a group when it is its turn; return the future of its result."""
        future: Future[Any] = Future()
        with self._lock:
            self._tasks.setdefault(group, deque()).append((task, future))
        self._executor.submit(self._run_next)
        return future

    def shutdown(self) -> None:
        """Start no further task, and do not wait for those that run."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _run_next(self) -> None:
        with self._lock:
            group, tasks = self._tasks.popitem(last=False)
            task, future = tasks.popleft()
            if tasks:
                self._tasks[group] = tasks
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = task()
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(result)
