const EVENT_STREAM_SECONDS = 10;
const KEEP_TOKEN = "vmapi.keep-token";
const STORED_TOKENS = "authorized"; // the key of Swagger UI

// Swagger UI displays complete responses only, and keeps waiting for a stream without an end
function endEventStream(request) {
  const url = new URL(request.url, location.href);
  if (url.pathname.endsWith("/events") && !url.searchParams.has("wait")) {
    url.searchParams.set("wait", EVENT_STREAM_SECONDS);
    request.url = url.href;
  }
  return request;
}

const vmapiPlugin = (system) => ({
  wrapComponents: {
    // the samples and headers of fifteen problems make an operation slow to open
    response: (Response) => (props) => system.React.createElement(Response, {
      ...props,
      response: props.code >= 400 ? props.response.filter((_, name) => name === "description") : props.response,
    }),
  },
  statePlugins: {
    layout: {
      wrapActions: {
        // Swagger UI takes the _ in an operation id for a space, and warns
        parseDeepLinkHash: (original, { layoutActions }) => (hash) => {
          const [tag, operationId] = hash.replace(/^#!?[/]?/, "").split("/");
          if (!tag) return;
          const tagKey = ["operations-tag", tag];
          const key = operationId ? ["operations", tag, operationId] : tagKey;
          layoutActions.show(tagKey, true);
          layoutActions.show(key, true);
          layoutActions.scrollTo(key);
          layoutActions.scrollToVirtualizedOperation(key);
        },
      },
    },
  },
});

const keepToken = document.getElementById("keep-token");
keepToken.checked = localStorage.getItem(KEEP_TOKEN) !== null;

window.ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayOperationId: true,
  validatorUrl: "none",
  persistAuthorization: keepToken.checked,
  plugins: [vmapiPlugin],
  requestInterceptor: endEventStream,
});

keepToken.addEventListener("change", () => {
  ui.getConfigs().persistAuthorization = keepToken.checked;
  if (keepToken.checked) {
    localStorage.setItem(KEEP_TOKEN, "1");
    ui.authActions.persistAuthorizationIfNeeded();
  } else {
    localStorage.removeItem(KEEP_TOKEN);
    localStorage.removeItem(STORED_TOKENS);
  }
});
