const EVENT_STREAM = "text/event-stream";

function parseResults(blocks) {
  const lines = blocks.flatMap((block) => block.split("\n"));
  // comments and the end have no data
  return lines.filter((line) => line.startsWith("data: {")).map((line) => JSON.parse(line.slice("data: ".length)));
}

async function* readResults(response, leave) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (text + value).split("\n\n");
      text = blocks.pop();
      yield* parseResults(blocks);
    }
  } catch (error) {
    if (!leave.signal.aborted) throw error;
  }
}

// a generator would end at the next event only
function stoppable(results, leave) {
  return {
    [Symbol.asyncIterator]() { return this; },
    next: () => results.next(),
    return: async () => {
      leave.abort();
      return { done: true, value: undefined };
    },
  };
}

// a stream for every document: the result of a query is a stream of one, of a known length
async function fetchResults(params, { headers } = {}) {
  const leave = new AbortController();
  const response = await fetch(new URL("../graphql", location.href), {
    method: "POST",
    headers: { "content-type": "application/json", accept: EVENT_STREAM, ...headers },
    body: JSON.stringify(params),
    signal: leave.signal,
  });
  if (!response.headers.get("content-type").startsWith(EVENT_STREAM)) return response.json();
  if (!response.headers.has("content-length")) return stoppable(readResults(response, leave), leave);
  const [result] = parseResults((await response.text()).split("\n\n"));
  return result;
}

ReactDOM.createRoot(document.getElementById("graphiql")).render(React.createElement(GraphiQL, {
  fetcher: fetchResults,
  shouldPersistHeaders: false,
  defaultQuery: "# where tokens are required, send the header { \"Authorization\": \"Bearer TOKEN\" }\n{\n  vms(first: 10) {\n    totalCount\n    nodes { id name status }\n  }\n}\n",
}));
