// Print what Redocly's recommended rules report, as JSON.
const { createConfig, lint } = require("@redocly/openapi-core");

async function main() {
  const config = await createConfig({ extends: ["recommended"] });
  const problems = await lint({ ref: "openapi.json", config });
  const reports = problems.map(({ ruleId, severity, message, location }) => ({
    ruleId,
    severity,
    message,
    pointer: location[0]?.pointer,
  }));
  console.log(JSON.stringify(reports, null, 1));
}

main();
