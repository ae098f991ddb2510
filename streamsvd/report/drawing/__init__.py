"""Drawings of a page: SVG that takes its colours from the page, so that it is right in light and in dark."""
