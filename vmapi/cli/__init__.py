"""Commands of `flask --app wsgi` for operators."""
