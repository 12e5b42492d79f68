"""The door for a WSGI server such as gunicorn."""

import gc
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "jobsite.settings")
application = get_wsgi_application()
# What is loaded stays as long as the process: going through it again and again would make every fiftieth page late.
gc.collect()
gc.freeze()
