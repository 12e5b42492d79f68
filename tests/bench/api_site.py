"""The door for gunicorn to the site with the addresses of ``tests.bench.api``."""

from __future__ import annotations

import logging

from django.conf import settings
from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
settings.ROOT_URLCONF = "tests.bench.api"
logging.disable(logging.WARNING)  # a line a request
