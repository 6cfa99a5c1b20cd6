// Print the results of the audit suite of GraphQL over HTTP that are not "ok", as JSON.
const { auditServer } = require("graphql-http");

async function main() {
  const authorization = `Bearer ${process.env.VMAPI_TOKEN}`;
  const fetchFn = (url, init = {}) =>
    fetch(url, { ...init, headers: { ...init.headers, authorization } });
  const results = await auditServer({ url: `${process.env.VMAPI_URL}/graphql`, fetchFn });
  const refused = results.filter(({ status }) => status !== "ok");
  const reports = refused.map(({ name, status, reason }) => ({ name, status, reason }));
  console.log(JSON.stringify({ count: results.length, reports }, null, 1));
}

main();
