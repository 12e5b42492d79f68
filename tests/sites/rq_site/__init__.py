"""An ordinary site with django-rq and rq-scheduler, as it was before it met the engine. Nothing here imports that."""
