"""What a site enqueues by RQ's own words."""

from __future__ import annotations

from typing import Any

from rq import Retry, get_current_job

seen: list[tuple[Any, ...]] = []


def add(a: int, b: int = 0) -> int:
    seen.append(("add", a, b))
    return a + b


def fail(why: str) -> None:
    seen.append(("fail", why))
    raise ValueError(why)


def again(times: int) -> Retry | str:
    job = get_current_job()
    assert job is not None
    seen.append(("again", job.id))
    return Retry(max=times, interval=[10, 60])


def whoami() -> Any:
    job = get_current_job()
    assert job is not None
    job.meta["seen"] = len(job.meta)
    job.save_meta()
    return [job.func_name, job.meta]


def vague() -> object:
    return object()


async def wait() -> str:
    job = get_current_job()
    return f"{job and job.func_name} waited"


def told(job: Any, connection: Any, result: Any) -> None:
    seen.append(("told", job.id, result))


def sorry(job: Any, connection: Any, kind: Any, error: Any, traceback: Any) -> None:
    seen.append(("sorry", kind.__name__, str(error)))
    raise RuntimeError("the callback is broken, too")


class Shop:
    @staticmethod
    def close(name: str) -> str:
        return f"closed {name}"

    def open(self) -> None:
        """A method of an instance, which only a pickle holds."""
