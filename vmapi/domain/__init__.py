"""The values of the domain: plain frozen data and the rules over them, no input or output."""
