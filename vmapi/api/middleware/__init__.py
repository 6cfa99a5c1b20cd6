"""Request hooks: authentication, CSRF, CORS, rate limits, security headers."""
