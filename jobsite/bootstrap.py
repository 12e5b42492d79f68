"""From nothing but Python to a virtual environment that works: what ``make`` calls first.

Standard library only, and written so that every Python from 3.6 on can read it: an old one must be able to say that it
is old. Every failure is one line that says what to do.
"""

import contextlib
import hashlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import sysconfig
from typing import IO, Iterator, List, Optional, Tuple

OLDEST = (3, 11)
NEWER = ("python3.14", "python3.13", "python3.12", "python3.11")
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
REQUIREMENTS = {
    "run": ["requirements.txt"],
    "dev": ["requirements.txt", "requirements-tests.txt", "requirements-dev.txt"],  # the last one names the others
    "docs": ["requirements.txt", "requirements-docs.txt"],
}


class CannotStart(Exception):
    """The message is the one line that the user reads."""


def check_python(version: Tuple[int, ...], goal: str = "run") -> None:
    """Raise CannotStart if ``version`` is older than the project can use, naming a newer one if it is at hand."""
    if version[:2] >= OLDEST:
        return
    newer = next((name for name in NEWER if runs(name)), None)
    raise CannotStart(
        "Python {}.{} or newer is needed, this is {}: {}run 'make {} PYTHON={}'.".format(
            OLDEST[0],
            OLDEST[1],
            ".".join(str(part) for part in version[:3]),
            "" if newer else "install one, then ",
            goal,
            newer or "python3.12",
        )
    )


def runs(program: str) -> bool:
    """True when ``program`` is on PATH and is more than the stand-in of a version manager."""
    path = shutil.which(program)
    if path is None:
        return False
    with open(os.devnull, "w") as nowhere:
        return subprocess.call([path, "-c", ""], stdout=nowhere, stderr=nowhere) == 0


def check_platform(system: str, libc_hint: str) -> None:
    """Raise CannotStart where there are no wheels. ``libc_hint``: how Python was built, such as x86_64-linux-musl."""
    if system == "Windows":
        raise CannotStart("Windows itself is not supported: run this inside WSL (wsl --install), where it is Linux.")
    if "musl" in libc_hint:
        raise CannotStart(
            "this Linux uses musl (Alpine), for which some requirements have no wheels: use one with glibc, as Debian."
        )


def check_venv_module(goal: str = "run") -> None:
    """Raise CannotStart if Python came without the parts that make virtual environments (Debian splits them off)."""
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        raise CannotStart(
            "this Python has no venv module: install it (Debian, Ubuntu: apt install python{}.{}-venv), then"
            " run 'make {}' again.".format(sys.version_info[0], sys.version_info[1], goal)
        ) from None


def venv_python(root: str) -> str:
    """The interpreter of the project's virtual environment."""
    return os.path.join(root, ".venv", "bin", "python")


def fingerprint(root: str, kind: str) -> str:
    """Changes whenever what ``kind`` needs does, and when the folder moved: an environment cannot move with it."""
    digest = hashlib.sha256(root.encode())
    for name in REQUIREMENTS[kind]:
        with open(os.path.join(root, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def stamp(root: str, kind: str) -> str:
    """The file whose text is the fingerprint of what was completely installed."""
    return os.path.join(root, ".venv", ".installed-" + kind)


def is_ready(root: str, kind: str) -> bool:
    """True when the environment has what ``kind`` needs; the stamp is written last, so a broken install has none."""
    try:
        with open(stamp(root, kind)) as file:
            return file.read() == fingerprint(root, kind) and os.path.exists(venv_python(root))
    except OSError:
        return False


@contextlib.contextmanager
def only_one(root: str) -> Iterator[None]:
    """Let one process at a time change the environment. The lock is on the project's folder: no file to clean up."""
    import fcntl  # absent on Windows, which check_platform has refused by now

    folder = os.open(root, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another make is installing the requirements; waiting for it.", flush=True)
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def prepare(root: str, kind: str, goal: str) -> None:
    """Make ``.venv`` hold what ``kind`` needs. Raises CannotStart."""
    if is_ready(root, kind):
        return
    check_platform(
        platform.system(), "{} {}".format(sysconfig.get_config_var("HOST_GNU_TYPE"), sysconfig.get_platform())
    )
    with only_one(root):
        if is_ready(root, kind):  # the one we waited for did it
            return
        if not is_usable(root):
            check_python(sys.version_info[:3], goal)
            check_venv_module(goal)
            print("Making a virtual environment in .venv ...", flush=True)
            run_step(root, [sys.executable, "-m", "venv", "--clear", os.path.join(root, ".venv")], None, goal)
        print("Installing the requirements into .venv; the first time takes a minute ...", flush=True)
        pip = [venv_python(root), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet"]
        with open(os.path.join(root, ".venv", "install.log"), "w+") as log:
            run_step(root, pip + ["--requirement", REQUIREMENTS[kind][-1]], log, goal)
        for done in ("run", kind):  # the developer's requirements include the user's
            with open(stamp(root, done), "w") as file:
                file.write(fingerprint(root, done))


def is_usable(root: str) -> bool:
    """True when ``.venv`` has an interpreter of the right age that has pip; an interrupted start leaves one without."""
    age = ["-c", "import sys; sys.exit(sys.version_info[:2] < {!r})".format(OLDEST)]
    try:
        with open(os.devnull, "w") as nowhere:
            for probe in (age, ["-m", "pip", "--version"]):
                if subprocess.call([venv_python(root)] + probe, stdout=nowhere, stderr=nowhere) != 0:
                    return False
            return True
    except OSError:
        return False


def run_step(root: str, command: List[str], log: Optional[IO[str]], goal: str) -> None:
    """Run ``command``, its output kept in ``log``. Raises CannotStart with the last thing that it complained about."""
    env = dict(os.environ, PIP_REQUIRE_VIRTUALENV="0")
    env.pop("PYTHONHOME", None)
    result = subprocess.Popen(
        command, cwd=root, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True
    )
    try:
        said, _ = result.communicate()
    finally:
        if result.poll() is None:  # we were asked to stop
            result.terminate()
            result.wait()
    if log is not None:
        log.write(said)
    if result.returncode == 0:
        return
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    cause = next(
        (line for line in reversed(lines) if line.upper().startswith("ERROR")), lines[-1] if lines else "no output"
    )
    where = " (all of it: .venv/install.log)" if log is not None else ""
    raise CannotStart("setting up .venv failed: {}{}; mend that, then run 'make {}' again.".format(cause, where, goal))


def main(arguments: List[str]) -> int:
    """``run`` installs and replaces this process by ``manage.py run``; any other goal installs what developers need.

    ``docs``: what builds the documentation.
    """
    goal = arguments[0] if arguments else "run"
    kind = goal if goal in ("run", "docs") else "dev"
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that SIGTERM, too, takes pip along
    try:
        prepare(ROOT, kind, goal)
    except CannotStart as error:
        print("error: {}".format(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; 'make {}' goes on from here.".format(goal), file=sys.stderr)
        return 130
    except OSError as error:
        print(
            "error: {}: {}; mend that, then run 'make {}' again.".format(error.filename, error.strerror, goal),
            file=sys.stderr,
        )
        return 1
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if goal == "run":
        os.environ.setdefault("JOBSITE_DEMO", "1")
        os.chdir(ROOT)
        os.execv(venv_python(ROOT), [venv_python(ROOT), "manage.py", "run"])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
