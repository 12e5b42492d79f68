"""The documentation's pictures: ``make pictures`` takes them anew, of the console over the demo shop."""
