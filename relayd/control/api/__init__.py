"""One module for each area of the API: its routes, and the shapes of its answers."""
