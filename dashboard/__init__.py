"""The operators' console, on stock django.contrib.admin. It asks; the engine acts."""
