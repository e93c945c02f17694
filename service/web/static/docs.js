// The API's page: Swagger UI over this service's own description.
const url = new URL("../openapi.json", document.currentScript.src).href;
SwaggerUIBundle({ url, dom_id: "#docs", deepLinking: true, tryItOutEnabled: false });
