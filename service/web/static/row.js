// One item as a row. Only what differs is written, so that focus stays and screen readers are left in peace.

import { at } from "./address.js";
import { hasEnded, percent, state, status, why } from "./phrases.js";
import { say } from "./words.js";

const TRANSCODED = new Set(["zstd", "brotli", "xz", "tar.zst"]);

const set = (element, property, value) => {
  if (element[property] !== value) element[property] = value;
};
const label = (element, text) => {
  if (element.getAttribute("aria-label") !== text) element.setAttribute("aria-label", text);
};

export class Row {
  constructor(element, item) {
    this.element = element;
    this.item = item;
    this.parts = Object.fromEntries(["name", "state", "why", "note"].map((name) => [name, element.querySelector(`.${name}`)]));
    this.bar = element.querySelector("progress");
    this.acts = Object.fromEntries([...element.querySelectorAll("[data-act]")].map((act) => [act.dataset.act, act]));
    const link = this.parts.name.querySelector("a");
    set(link.firstElementChild, "textContent", item.name);
    for (const [name, act] of Object.entries(this.acts)) label(act, `${say(`act.${name}`)} ${item.name}`);
    label(this.bar, say("state.progress", { name: item.name }));
  }

  show() {
    const { item, element } = this;
    set(element.dataset, "status", status(item));
    const said = state(item);
    set(this.parts.state, "textContent", said);
    this.#showBar(said);
    this.#showReason();
    set(this.parts.note, "hidden", !item.job || hasEnded(item));
    if (item.job) {
      element.dataset.job = item.job.id;
      this.parts.name.querySelector("a").href = `${at}/jobs/${item.job.id}`;
    }
    this.#showActs();
  }

  #showBar(said) {
    set(this.bar, "hidden", hasEnded(this.item));
    set(this.bar, "value", percent(this.item));
    this.bar.setAttribute("aria-valuetext", said);
  }

  #showReason() {
    const reason = why(this.item) ?? this.item.trouble;
    set(this.parts.why, "hidden", !reason);
    if (!reason || this.shown === reason.title + reason.advice) return;
    this.shown = reason.title + reason.advice;
    const [strong, code] = [document.createElement("strong"), document.createElement("code")];
    strong.textContent = reason.title;
    code.textContent = reason.code;
    this.parts.why.replaceChildren(strong, ` ${reason.advice} `, code);
  }

  #showActs() {
    const { item } = this;
    const { job } = item;
    const base = job ? `${at}/jobs/${job.id}` : "";
    // What is gone is still in what was said last.
    const isThere = Boolean(job) && !item.failure && !item.isExpired;
    const links = isThere ? job.links : {};
    const isManaged = isThere && item.isManaged;
    this.#offer("download", links.result, `${base}/result`);
    this.#offer("gzip", links.result && TRANSCODED.has(job.result.format), `${base}/result?format=gzip`);
    this.#offer("original", links.original, `${base}/original`);
    this.#offer("cancel", job ? links.cancel && isManaged && !job.cancel_requested : !hasEnded(item));
    this.#offer("retry", job ? links.retry && isManaged : hasEnded(item) && !item.failure?.isFinal);
    this.#offer("copy_link", isThere);
    this.#offer("copy_curl", links.result);
    this.#offer("delete", isManaged && !links.cancel);
    this.#offer("remove", item.isListed && hasEnded(item));
  }

  #offer(name, isOffered, href) {
    const act = this.acts[name];
    const isHidden = !isOffered;
    if (isHidden && document.activeElement === act) this.#keepFocus();
    set(act, "hidden", isHidden);
    if (isOffered && href && act.getAttribute("href") !== href) act.href = href;
  }

  // A button that goes must not take the keyboard's place with it.
  #keepFocus() {
    this.element.tabIndex = -1;
    this.element.focus();
  }
}
