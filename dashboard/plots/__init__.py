"""Bokeh figures of the dashboard's panels. Nothing imports this before a plot is shown: Bokeh is heavy."""
