"""Apps that stand for two releases of one site, of which a deploy has both at work for a while."""
