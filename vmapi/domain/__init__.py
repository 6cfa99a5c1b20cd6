"""Values of the domain: immutable data and the rules over it, without I/O."""
