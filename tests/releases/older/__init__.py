"""The release before."""
