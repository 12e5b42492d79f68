"""Jobs run in the process of whoever asks: ``JOBS["EAGER"]`` and ``handlers.testing``. No worker imports this."""
