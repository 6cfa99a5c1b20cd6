"""Who is let in: each way of saying who one is, apart from HTTP and from the database."""
