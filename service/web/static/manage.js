// What the buttons of a job do: cancel, retry, delete with the manage key; copy.

import { at } from "./address.js";
import { alarm, whisper } from "./announce.js";
import { refusal } from "./phrases.js";
import { say } from "./words.js";

const COPIED_MILLISECONDS = 2000;

// Returns the job as it is now; null once it is deleted. What the server refused stands in item.trouble.
export async function change(item, name) {
  const [method, path] = name === "delete" ? ["DELETE", ""] : ["POST", `/${name}`];
  const headers = { Accept: "application/json", ...(item.key ? { Authorization: `Bearer ${item.key}` } : {}) };
  item.trouble = null;
  try {
    const response = await fetch(`${at}/jobs/${item.job.id}${path}`, { method, headers });
    if (response.status === 204 || (response.status === 404 && name === "delete")) return null;
    const answer = await response.json();
    if (response.ok) return answer;
    item.trouble = refusal(answer, response.status);
  } catch {
    item.trouble = { title: say(`act.${name}`), advice: say("script.not_done"), code: "offline" };
  }
  alarm(`${item.name}: ${item.trouble.title}`);
  return item.job;
}

export const linkOf = (job) => new URL(job.links.self, location.href).href;
export const curlOf = (job) => `curl -OJ '${linkOf(job)}/result'`;

// The clipboard's interface is there on HTTPS and loopback only; elsewhere the old way still works.
export async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    if (!copyBySelection(text)) return void prompt(button.textContent, text);
  }
  whisper(say("act.copied"));
  const label = (button.dataset.label ??= button.textContent);
  button.textContent = say("act.copied");
  setTimeout(() => (button.textContent = label), COPIED_MILLISECONDS);
}

function copyBySelection(text) {
  const [area, focused] = [document.createElement("textarea"), document.activeElement];
  area.value = text;
  area.className = "visually-hidden";
  document.body.append(area);
  area.select();
  const isCopied = document.execCommand("copy");
  area.remove();
  focused?.focus();
  return isCopied;
}
