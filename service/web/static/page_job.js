// The page of one job: its row and its facts follow the job; who holds the key is offered what it allows.

import { at } from "./address.js";
import { Announcer } from "./announce.js";
import { Follower } from "./follow.js";
import { listen } from "./listen.js";
import { change, copy, curlOf, linkOf } from "./manage.js";
import { keyOf, remember } from "./memory.js";
import { hasEnded, isDue } from "./phrases.js";
import { Row } from "./row.js";
import { fileCount, listed, moment, say, size } from "./words.js";

const shownAs = {
  code: (value) => value,
  size: (value, job) => listed([size(value), job.source.size_bytes === value && job.source.files > 1 && fileCount(job.source.files)]),
  time: (value) => moment(value),
  attempt: (value, job) => say("state.attempt", { attempt: value, max_attempts: job.max_attempts }),
};

async function showJob(element) {
  const article = element.querySelector(".row");
  const id = article.dataset.job;
  const name = document.querySelector("h1 bdi").textContent;
  const isTrusted = "manage" in element.dataset;
  const given = takeKey();
  // An operator's token opens the page as well: it is for no browser to keep.
  if (isTrusted && isKey(given)) remember([{ id, name, key: given }]);
  const key = isTrusted && given ? given : keyOf(id);
  const item = { name, key, isManaged: isTrusted || Boolean(key), job: null, failure: null, trouble: null };
  item.job = await firstStatus(id);
  item.size = item.job.source.size_bytes;
  const row = new Row(article, item);
  const announcer = new Announcer(null, `${name} · vacpack`);

  function show(job = item.job) {
    if (job.version < item.job.version) return;
    item.job = job;
    row.show();
    showFacts(job);
    announcer.tell([item]);
    follower.awaitEnd([item]);
  }
  const follower = new Follower({
    wanted: () => (isDue(item) || !(hasEnded(item) || isListening()) ? [id] : []),
    changed: ([job], [missing]) => (missing ? location.reload() : show(job)),
    lost: showTrouble,
  });
  let source = null;
  const isListening = () => Boolean(source) && source.readyState !== EventSource.CLOSED;
  function watch() {
    if (hasEnded(item) || isListening()) return;
    // A page nobody looks at leaves the connection, one of six for all tabs, to those that are looked at.
    if (document.hidden) return void follower.follow();
    source = listen(item.job, { changed: show, ended: watch, fallBack: () => void follower.follow() }) ?? null;
  }

  async function act(what, button) {
    if (what === "copy_link") return copy(linkOf(item.job), button);
    if (what === "copy_curl") return copy(curlOf(item.job), button);
    if (what === "delete" && !confirm(say("act.delete.sure", { name }))) return undefined;
    if (what === "delete") source?.close();
    const job = await change(item, what);
    if (job) {
      show(job);
      return watch();
    }
    remember([], [id]);
    return location.assign(`${at}/`);
  }
  element.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-act]");
    if (!button) return;
    event.preventDefault();
    act(button.dataset.act, button);
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) source?.close();
    watch();
  });
  showCopies();
  show();
  watch();
}

// However long the server is away.
async function firstStatus(id) {
  for (let seconds = 1; ; seconds = Math.min(2 * seconds, 30)) {
    const asked = fetch(`${at}/jobs/${id}`, { headers: { Accept: "application/json" }, cache: "no-store" });
    const response = await asked.catch(() => null);
    showTrouble(!response?.ok);
    if (response?.ok) return response.json();
    await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
  }
}

function showTrouble(isLost) {
  document.getElementById("trouble").textContent = isLost ? say("script.follow_lost") : "";
}

const isKey = (given) => /^[a-z2-7]{26}$/.test(given ?? "");

// The key came in the address: it is taken out of what people would share.
function takeKey() {
  const address = new URL(location.href);
  const key = address.searchParams.get("key");
  if (key === null) return null;
  address.searchParams.delete("key");
  history.replaceState(null, "", address);
  return key;
}

function showFacts(job) {
  for (const field of document.querySelectorAll("[data-field]")) {
    const value = field.dataset.field.split(".").reduce((found, name) => found?.[name], job) ?? null;
    field.closest("dl > div").hidden = value === null;
    if (value === null) continue;
    const text = shownAs[field.dataset.as](value, job);
    if (field.textContent !== text) field.textContent = text;
  }
}

function showCopies() {
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", () => copy(button.previousElementSibling.textContent, button));
  }
}

showJob(document.getElementById("job"));
