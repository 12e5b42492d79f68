"""Who may come in: what becomes of a form that was sent while nobody was signed in."""
