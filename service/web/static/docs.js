SwaggerUIBundle({
  url: "api/v1/openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  // The viewer would otherwise have a public site validate the document.
  validatorUrl: null,
});
