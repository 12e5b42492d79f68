"""``manage.py jobs``: what the console does, for people at a terminal and for scripts. See docs/commands.md."""
