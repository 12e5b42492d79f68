"""The Django project: settings from the environment, the console's address, and the command that runs everything."""
