// Create a VM and print the events about it that a subscription of graphql-sse receives, as JSON.
const { createClient } = require("graphql-sse");

const headers = { authorization: `Bearer ${process.env.VMAPI_TOKEN}` };
const url = `${process.env.VMAPI_URL}/graphql`;
const lastKind = "OPERATION_SUCCEEDED";

async function send(query) {
  const body = JSON.stringify({ query });
  const request = { method: "POST", headers: { ...headers, "content-type": "application/json" }, body };
  return (await fetch(url, request)).json();
}

async function main() {
  const client = createClient({ url, headers, singleConnection: false, retryAttempts: 0 });
  const name = '"from-graphql-sse"';
  const create = `mutation { createVm(input: {name: ${name}, flavor: "m1.tiny", image: "cirros"}) { vm { id } } }`;
  const created = (await send(create)).data.createVm.vm.id;
  const query = `subscription { events(lastEventId: "1", filter: {vmId: ["${created}"]}) { kind vmId } }`;
  const kinds = [];
  for await (const result of client.iterate({ query })) {
    kinds.push(result.data.events.kind);
    if (kinds.at(-1) === lastKind) break;
  }
  const queried = [];
  for await (const result of client.iterate({ query: "{ vms(filter: {name: \"from-*\"}) { totalCount } }" })) {
    queried.push(result.data);
  }
  console.log(JSON.stringify({ kinds, queried }));
  client.dispose();
}

main();
