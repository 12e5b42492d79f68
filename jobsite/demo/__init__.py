"""The demo shop: an ordinary Django app that hands its slow and fragile work to the job system."""
