"""The types of the GraphQL schema: inputs, objects of the domain, and pages of them."""
