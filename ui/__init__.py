"""The Streamlit page, and the view logic behind it."""
