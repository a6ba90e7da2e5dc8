"""How the model is served and called."""
