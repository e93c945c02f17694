// The list of the upload page: what waits, moves, is worked on and has ended, and the three that may move at once.

import { at } from "./address.js";
import { alarm, Announcer } from "./announce.js";
import { Follower } from "./follow.js";
import { change, copy, curlOf, linkOf } from "./manage.js";
import { onRemembered, remember, remembered } from "./memory.js";
import { hasEnded, isDue } from "./phrases.js";
import { Row } from "./row.js";
import { Refused, Stopped, Transfer } from "./transfer.js";
import { fileCount, say, size } from "./words.js";

const MOST_MOVING = 3;
const RESTORE_MILLISECONDS = 5000;
const SHOWN_EVERY_MILLISECONDS = 250;
// Longer questions are cut by browsers.
const MOST_LINKS = 10;
const REFUSED_OPTIONS = new Set(["bad_option", "one_file_only"]);

const byId = (id) => document.getElementById(id);

// A button that goes must not take the keyboard's place with it.
export function hide(button, isHidden) {
  if (isHidden && document.activeElement === button) byId("list-name").focus();
  button.hidden = isHidden;
}

export class Uploads {
  // options() gives what is chosen now: format, level, expires, notify_email.
  constructor(options) {
    this.options = options;
    this.rows = new Map();
    this.waiting = [];
    this.moving = new Set();
    this.stale = new Set();
    const { maxBytes, maxFiles } = byId("upload").dataset;
    [this.maxBytes, this.maxFiles] = [Number(maxBytes), Number(maxFiles)];
    this.announcer = new Announcer(byId("total"), document.title);
    this.follower = new Follower({
      wanted: () => this.items.filter((item) => item.job && (!hasEnded(item) || isDue(item))).map(({ job }) => job.id),
      changed: (jobs, missing) => this.#follow(jobs, missing),
      lost: (isLost) => this.#showTrouble(isLost),
    });
    byId("rows").addEventListener("click", (event) => this.#act(event));
    byId("rows").addEventListener("submit", (event) => event.preventDefault());
    onRemembered(() => this.#meetOtherTabs());
    addEventListener("beforeunload", (event) => this.isSending && event.preventDefault());
  }

  get items() {
    return [...this.rows.keys()];
  }

  get isSending() {
    return this.waiting.length + this.moving.size > 0;
  }

  // Takes up the list as this browser left it; jobs the server no longer has drop out.
  async restore() {
    const kept = remembered();
    const items = kept.map(({ id, name, key }) => ({ ...blank(name, 0), id, key, isManaged: Boolean(key) }));
    const found = new Map();
    for (let first = 0; first < items.length; first += 200) {
      const ids = items.slice(first, first + 200).map(({ id }) => id);
      const asked = fetch(`${at}/jobs?ids=${ids.join()}`, { headers: { Accept: "application/json" }, cache: "no-store" });
      const response = await asked.catch(() => null);
      if (!response?.ok) return this.#restoreLater();
      const { jobs, missing } = await response.json();
      for (const job of jobs) found.set(job.id, job);
      remember([], missing);
    }
    const known = items.filter(({ id }) => found.has(id) && !this.#has(id));
    for (const item of known) Object.assign(item, { job: found.get(item.id), size: found.get(item.id).source.size_bytes });
    this.#showTrouble(false);
    this.#list(known, "append");
    this.follower.follow();
  }

  #restoreLater() {
    byId("list").hidden = false;
    this.#showTrouble(true);
    setTimeout(() => this.restore(), RESTORE_MILLISECONDS);
  }

  #meetOtherTabs() {
    const ids = new Set(remembered().map(({ id }) => id));
    this.#drop(this.items.filter(({ job }) => job && !ids.has(job.id)));
    this.restore();
  }

  // files: [{file, path}]. Each becomes a job, or all together one archive.
  add(files, isArchive) {
    const options = this.options();
    const groups = isArchive && files.length > 1 ? [files] : files.map((file) => [file]);
    const items = groups.map((group) => {
      const bytes = group.reduce((sum, { file }) => sum + file.size, 0);
      const isOne = group.length === 1;
      const name = isOne ? group[0].path : nameOf(group);
      return { ...blank(name, bytes), files: group, options, isArchive: !isOne, isUploadedHere: true, isManaged: true };
    });
    this.#list(items, "prepend");
    items.forEach((item) => this.#enqueue(item));
  }

  #list(items, where) {
    if (!items.length) return;
    const pieces = items.map((item) => {
      const element = byId("row").content.firstElementChild.cloneNode(true);
      const row = new Row(element, item);
      this.rows.set(item, row);
      row.show();
      return element;
    });
    byId("rows")[where](...pieces);
    byId("list").hidden = false;
    items.forEach((item) => this.#changed(item));
  }

  #has(id) {
    return this.items.some(({ job }) => job?.id === id);
  }

  #enqueue(item) {
    Object.assign(item, { job: null, failure: null, trouble: null, isUnwanted: false, transfer: { phase: "waiting" } });
    if (item.size > this.maxBytes) {
      const advice = say("script.too_large", { size: size(this.maxBytes) });
      item.failure = { title: say("error.upload_too_large"), advice, code: "upload_too_large", isFinal: true };
    } else if (item.files.length > this.maxFiles) {
      const advice = say("script.too_many", { count: this.maxFiles });
      item.failure = { title: say("error.too_many_files"), advice, code: "too_many_files", isFinal: true };
    } else {
      this.waiting.push(item);
    }
    this.#changed(item);
    this.#next();
  }

  #next() {
    while (this.moving.size < MOST_MOVING && this.waiting.length) this.#upload(this.waiting.shift());
  }

  async #upload(item) {
    const transfer = new Transfer(item, () => this.#changed(item));
    item.stop = () => transfer.stop();
    this.moving.add(item);
    try {
      const { manage_key: key, ...job } = await transfer.run();
      Object.assign(item, { job, key, transfer: null });
      remember([{ id: job.id, name: item.name, key }]);
      if (item.isUnwanted) await this.#manage(item, "cancel");
      this.follower.follow();
    } catch (error) {
      if (error instanceof Refused) item.failure = error.failure;
      else if (error instanceof Stopped) item.transfer = { phase: "stopped" };
      else throw error;
    } finally {
      this.moving.delete(item);
      this.#changed(item);
      this.#next();
    }
  }

  #follow(jobs, missing) {
    const byJob = new Map(this.items.filter(({ job }) => job).map((item) => [item.job.id, item]));
    for (const job of jobs) this.#update(byJob.get(job.id), job);
    for (const id of missing) {
      const item = byJob.get(id);
      if (item && isDue(item)) {
        Object.assign(item, { isExpired: true, trouble: null });
        this.#changed(item);
      } else if (item && !hasEnded(item)) {
        item.failure = { title: say("error.job_not_found"), advice: say("script.no_longer"), code: "job_not_found" };
        this.#changed(item);
      }
    }
    remember([], missing);
  }

  #update(item, job) {
    // An answer that was under way while a newer one arrived says what was.
    if (!item || job.version < item.job.version) return;
    Object.assign(item, { job, trouble: null });
    this.#changed(item);
  }

  #changed(item) {
    this.stale.add(item);
    this.timer ??= setTimeout(() => this.#show(), SHOWN_EVERY_MILLISECONDS);
  }

  #show() {
    this.timer = undefined;
    for (const item of this.stale) this.rows.get(item)?.show();
    this.stale.clear();
    this.announcer.tell(this.items);
    this.follower.awaitEnd(this.items);
    hide(byId("clear"), !this.items.some(hasEnded));
    hide(byId("notify"), this.items.every(hasEnded) || globalThis.Notification?.permission !== "default");
  }

  #showTrouble(isLost) {
    byId("trouble").textContent = isLost ? say("script.follow_lost") : "";
  }

  #act(event) {
    const act = event.target.closest("[data-act]");
    const element = act?.closest(".row");
    const item = this.items.find((found) => this.rows.get(found).element === element);
    if (!item || act.localName === "a") return;
    event.preventDefault();
    this[`_${act.dataset.act}`](item, act);
  }

  _cancel(item) {
    if (item.job) return this.#manage(item, "cancel");
    if (item.mayBeReceived) {
      // The job may be made by now: only its receipt tells which it is.
      item.isUnwanted = true;
      return this.#changed(item);
    }
    this.waiting = this.waiting.filter((other) => other !== item);
    item.stop?.();
    item.transfer = { phase: "stopped" };
    return this.#changed(item);
  }

  _retry(item) {
    if (item.job) return this.#manage(item, "retry");
    if (REFUSED_OPTIONS.has(item.failure?.code)) Object.assign(item, { options: this.options(), uploadKey: null });
    return this.#enqueue(item);
  }

  async _delete(item) {
    if (confirm(say("act.delete.sure", { name: item.name }))) await this.#manage(item, "delete");
  }

  _copy_link(item, button) {
    return copy(linkOf(item.job), button);
  }

  _copy_curl(item, button) {
    return copy(curlOf(item.job), button);
  }

  _remove(item) {
    if (isSure([item], item.name)) this.#forget([item]);
  }

  clear() {
    const ended = this.items.filter(hasEnded);
    if (isSure(ended, fileCount(ended.length))) this.#forget(ended);
  }

  #forget(items) {
    remember([], items.filter(({ job }) => job).map(({ job }) => job.id));
    this.#drop(items);
  }

  async #manage(item, name) {
    const before = item.job;
    const job = await change(item, name);
    if (job) {
      if (job !== before) this.#update(item, job);
      this.#changed(item);
      this.follower.follow();
    } else {
      this.#forget([item]);
    }
  }

  #drop(items) {
    const focused = document.activeElement;
    const hadFocus = focused.id === "clear" || items.some((item) => this.rows.get(item).element.contains(focused));
    for (const item of items) {
      this.rows.get(item).element.remove();
      this.rows.delete(item);
    }
    byId("list").hidden = !this.rows.size;
    this.#show();
    if (hadFocus) (this.rows.size ? byId("list-name") : byId("file")).focus();
  }

  // What of a drop could not be taken, in sentences.
  sayAmiss(sentences) {
    const text = sentences.join(" ");
    byId("empty").hidden = !text;
    byId("empty").textContent = text;
    if (text) alarm(text);
  }
}

const blank = (name, bytes) => ({
  name, size: bytes, files: null, job: null, key: null, transfer: { phase: "waiting" }, failure: null, trouble: null, isListed: true,
});

// Before the only key is forgotten. The links can be copied from the question.
function isSure(items, what) {
  const links = items.filter((item) => item.job && item.key && !item.failure && !item.isExpired).map(({ job }) => linkOf(job));
  if (!links.length) return true;
  const more = links.length > MOST_LINKS ? ["…"] : [];
  return confirm([say("act.remove.sure", { what }), ...links.slice(0, MOST_LINKS), ...more].join("\n"));
}

// Files of one folder are named by it.
function nameOf(group) {
  const folders = new Set(group.map(({ path }) => (path.includes("/") ? path.split("/")[0] : "")));
  const [folder] = folders;
  return folders.size === 1 && folder ? folder : fileCount(group.length);
}
