#!/usr/bin/env python
"""Django's commands for this project: ``python manage.py help`` lists them."""

from jobsite.__main__ import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
