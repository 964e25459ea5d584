"""What runs, drawn: the model that widgets and the dashboard share."""
