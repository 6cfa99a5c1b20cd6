module.exports = {
  vmapi: {
    input: "./openapi.json",
    output: {
      target: "./generated/orval/api.ts",
      client: "fetch",
      baseUrl: process.env.VMAPI_URL,
    },
  },
};
