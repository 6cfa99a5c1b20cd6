"""The event feed: buffer, subscriptions and stream slots."""
