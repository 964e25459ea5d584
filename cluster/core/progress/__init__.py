"""Progress of what blocks a user for long: counted in `tally`, put into words in `model`, shown by `watching`."""
