const EVENT_STREAM_SECONDS = 10;
const KEEP_TOKEN = "vmapi.keep-token";
const STORED_TOKENS = "authorized"; // the key of Swagger UI
const REFERENCE = /"\$ref":"#\/components\/(\w+)\/([\w.-]+)"/g;

// Swagger UI displays complete responses only, and keeps waiting for a stream without an end
function endEventStream(request) {
  const url = new URL(request.url, location.href);
  if (url.pathname.endsWith("/events") && !url.searchParams.has("wait")) {
    url.searchParams.set("wait", EVENT_STREAM_SECONDS);
    request.url = url.href;
  }
  return request;
}

// Returns the document with only the path or the components that Swagger UI resolves, and with the
// components that these refer to
function extractPart(document, [section, name]) {
  const extract = { ...document, paths: {}, components: {} };
  const addComponents = (value) => {
    for (const [, kind, key] of JSON.stringify(value).matchAll(REFERENCE)) {
      const components = (extract.components[kind] ??= {});
      if (key in components) continue;
      const component = document.components[kind][key];
      // the samples and headers of fifteen problems make an operation slow to open
      components[key] = kind === "responses" ? { description: component.description } : component;
      addComponents(components[key]);
    }
  };
  extract[section][name] = document[section][name];
  addComponents(extract[section][name]);
  return extract;
}

const vmapiPlugin = () => ({
  afterLoad() {
    const { resolveSubtree } = this.fn;
    // resolveSubtree parses all of the document again for each operation that opens
    this.fn.resolveSubtree = (document, path, options) =>
      resolveSubtree(path.length > 1 ? extractPart(document, path) : document, path, options);
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
