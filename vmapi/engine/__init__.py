"""What carries unfinished operations on when no request does."""
