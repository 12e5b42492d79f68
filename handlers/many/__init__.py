"""Types whose jobs run many in one call: ``@handles_many``. How a call is made and recorded is in ``together``."""
