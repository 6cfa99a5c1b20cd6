"""What vmapi itself remembers."""
