#!/usr/bin/env bash
# Reading a setting that nobody set warns: Django 6.1.3, EMAIL_BACKEND and ten others
#
# Django 6.1 deprecates the EMAIL_ settings in favour of MAILERS. The warning comes not only where a site defines one:
# whoever reads settings.EMAIL_BACKEND gets it for Django's own default, and once MAILERS is defined, an AttributeError.
# So a system check of a reusable app that asks which mail backend a site has breaks `manage.py check` under -W error on
# sites that never mention mail, and getattr(settings, name, default) is quiet in one half of the sites only.
# settings.is_overridden(name) asks without either. It needs Python 3.12.
#
# Seen:
#     nothing set: overridden False, read: RemovedInDjango2028Warning
#     MAILERS set: overridden False, read: AttributeError
#
# Here: handlers/checks.py asks is_overridden first.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-$(command -v python3.13 || command -v python3.12 || echo python3)}
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check Django==6.1.3
cat >"$work/look.py" <<'PY'
import sys
import warnings

from django.conf import settings

warnings.simplefilter("error")
mailers = {"MAILERS": {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}}
settings.configure(**(mailers if sys.argv[1] == "MAILERS" else {}))
overridden = settings.is_overridden("EMAIL_BACKEND")
try:
    found = settings.EMAIL_BACKEND
except (Warning, AttributeError) as error:
    found = type(error).__name__
print(f"{sys.argv[1]} set: overridden {overridden}, read: {found}")
assert not overridden and found == sys.argv[2], "it behaves differently now"
if sys.argv[1] == "MAILERS":
    assert getattr(settings, "EMAIL_BACKEND", "the default") == "the default"
PY
"$work/venv/bin/python" "$work/look.py" nothing RemovedInDjango2028Warning
"$work/venv/bin/python" "$work/look.py" MAILERS AttributeError
