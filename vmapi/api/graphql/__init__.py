"""The GraphQL schema of the API, the limits of documents, and their execution.

It is a second door to the services: views in `vmapi.api.views.graphql` call it. It needs the extra
`graphql`, so other packages import its modules in functions.
"""
