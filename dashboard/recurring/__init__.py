"""The pages of recurring jobs."""
