"""The folder of ``manage.py run``, and the secrets that it makes and keeps there."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured


def ensure_data_folder(folder: Path) -> Path:
    """``folder``, made private to this user when new. Raises ImproperlyConfigured if it cannot be written to."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror
    else:
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
        reason = "not writable"
    raise ImproperlyConfigured(
        f"cannot write to the data folder {folder} ({reason}): make it writable, or set JOBSITE_DATA to one that is."
    )


def kept_secret(path: Path, make: str) -> str:
    """The secret kept in the file ``path`` (mode 0600); ``make`` is written there first when there is none.

    Safe for several processes that start at once: all of them get the one that was linked into place first.
    """
    try:
        if kept := path.read_text().strip():
            return kept
        path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        pass  # ensure_data_folder tells what is wrong, if anything is
    except OSError as error:
        raise ImproperlyConfigured(f"cannot read {path} ({error.strerror}): make it readable, or remove it.") from None
    ensure_data_folder(path.parent)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(make + "\n")
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
    except OSError as error:
        raise ImproperlyConfigured(
            f"cannot write {path} ({error.strerror}): make its folder writable, or set JOBSITE_DATA to one that is."
        ) from None
    finally:
        draft.unlink(missing_ok=True)
    return path.read_text().strip()


def new_password(folder: Path) -> str:
    """A password for the first login, which is kept in ``folder``/admin-password."""
    return kept_secret(folder / "admin-password", secrets.token_urlsafe(12))
