"""Commands of `vmapi` and `flask --app wsgi` for operators."""
