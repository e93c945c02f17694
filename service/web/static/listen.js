// One job's changes as they happen, by server-sent events; by held requests where these do not get through.

import { at } from "./address.js";

const PATIENCE_MILLISECONDS = 5000;

// ended() is told when there is nothing more to listen to: the job may have been run again by then.
export function listen(job, { changed, ended, fallBack }) {
  if (!job.links.events || !globalThis.EventSource) return fallBack();
  const source = new EventSource(`${at}/jobs/${job.id}/events`);
  const giveUp = () => {
    source.close();
    fallBack();
  };
  // Some proxies collect a stream until it ends: the first event is due at once.
  const patience = setTimeout(giveUp, PATIENCE_MILLISECONDS);
  source.addEventListener("status", ({ data }) => {
    clearTimeout(patience);
    changed(JSON.parse(data));
  });
  source.addEventListener("done", () => {
    source.close();
    ended();
  });
  source.addEventListener("gone", () => {
    source.close();
    location.reload();
  });
  // While it connects again by itself it is not closed; a refusal closes it.
  source.addEventListener("error", () => {
    if (source.readyState !== EventSource.CLOSED) return;
    clearTimeout(patience);
    fallBack();
  });
  return source;
}
