// The certified issuer, with clients that are named as the roles they have.
import Provider from "oidc-provider";

const { PORT, KEYS, AUDIENCE } = process.env;

const client = (id) => ({
  client_id: id,
  client_secret: `${id}-secret`,
  grant_types: ["client_credentials"],
  response_types: [],
  redirect_uris: [],
});

const provider = new Provider(`http://127.0.0.1:${PORT}`, {
  jwks: { keys: JSON.parse(KEYS) },
  clients: ["viewer", "operator", "admin", "stranger"].map(client),
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (context, resource) => ({
        scope: "",
        audience: resource,
        accessTokenFormat: "jwt",
        accessTokenTTL: 600,
        jwt: { sign: { alg: "RS256" } },
      }),
    },
  },
  extraTokenClaims: (context, token) => ({ roles: [token.clientId], project: "web" }),
});

provider.listen(Number(PORT), "127.0.0.1");
