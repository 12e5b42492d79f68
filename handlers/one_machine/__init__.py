"""Everything that a site needs on one machine, under one command: ``manage.py run``."""
