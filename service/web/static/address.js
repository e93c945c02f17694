// Where the service is: the path before all its addresses, empty at the root of a host.

export const at = new URL("..", import.meta.url).pathname.replace(/\/$/, "");
