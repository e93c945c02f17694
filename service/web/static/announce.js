// What is said beside the rows: the total, the title of the tab, the live region, and a notification when all is done.

import { hasEnded, hasFailed, percent, why } from "./phrases.js";
import { fileCount, say } from "./words.js";

const live = document.getElementById("live");
const alerts = document.getElementById("alerts");

export function alarm(text) {
  const line = document.createElement("p");
  line.textContent = text;
  alerts.replaceChildren(line);
}

// Emptied first: the same words again are news again.
export function whisper(text) {
  live.textContent = "";
  setTimeout(() => (live.textContent = text), 50);
}

function notify(title, body) {
  if (globalThis.Notification?.permission !== "granted" || !document.hidden) return;
  try {
    new Notification(title, { body });
  } catch {
    // Some phones have it for service workers only.
  }
}

export class Announcer {
  // total: where the sum is shown, or null; title: the tab's, while nothing moves.
  constructor(total, title) {
    Object.assign(this, { total, title });
    this.batch = new Set();
    this.seen = new WeakSet();
    this.failed = new WeakSet();
    [this.step, this.quarter] = ["", 0];
  }

  // Tell of these items: those still moving, and those that ended since this was called last.
  tell(items) {
    const moving = items.filter((item) => !hasEnded(item));
    const wasIdle = !this.batch.size;
    let fresh = 0;
    for (const item of items) {
      // A small file may have ended before anything was told of it.
      const isFresh = item.isUploadedHere && !this.seen.has(item);
      fresh += isFresh;
      if (!hasEnded(item) || isFresh) this.batch.add(item);
      this.seen.add(item);
    }
    if (wasIdle) this.step = "";
    if (fresh) whisper(say("script.started", { files: fileCount(fresh) }));
    this.#tellFailures(items);
    if (!this.batch.size) return;
    const present = new Set(items);
    const batch = [...this.batch].filter((item) => present.has(item));
    if (moving.length) this.#move(batch);
    else this.#end(batch);
  }

  #tellFailures(items) {
    for (const item of items) {
      if (!hasFailed(item)) this.failed.delete(item);
      else if (!this.failed.has(item)) {
        this.failed.add(item);
        const { title: reason, advice } = why(item);
        if (this.batch.has(item)) alarm(say("script.failed", { name: item.name, reason: `${reason} ${advice}` }));
      }
    }
  }

  #move(batch) {
    const step = batch.some(isOnTheWay) ? "uploading" : "compressing";
    const done = overall(batch, step);
    document.title = `${say("state.percent", { percent: done })} · ${this.title}`;
    const ended = batch.filter(hasEnded).length;
    if (this.total) this.total.textContent = say("script.total", { done: ended, files: fileCount(batch.length) });
    const quarter = Math.floor(done / 25);
    const isNews = step === this.step && quarter > this.quarter;
    if (isNews) whisper(`${say(`state.${step}`)} ${say("state.percent", { percent: 25 * quarter })}`);
    if (isNews || step !== this.step) [this.step, this.quarter] = [step, quarter];
  }

  #end(batch) {
    this.batch.clear();
    document.title = this.title;
    if (this.total) this.total.textContent = "";
    const done = batch.filter((item) => item.job?.status === "succeeded").length;
    const failed = batch.filter(hasFailed).length;
    if (!done && !failed) return;
    const text = failed ? say("script.ended", { done, failed }) : say("script.done", { files: fileCount(done) });
    whisper(text);
    notify(this.title, text);
  }
}

const isOnTheWay = (item) => !item.job && !hasEnded(item);

// How far all are in the step of the last of them. Large files count for more; a file of no bytes counts a little.
function overall(items, step) {
  const isPast = (item) => hasEnded(item) || (step === "uploading" && item.job);
  let [sum, weights] = [0, 0];
  for (const item of items) {
    if (step === "uploading" && !item.isUploadedHere) continue; // Uploaded before.
    const weight = item.size + 1e5;
    weights += weight;
    sum += weight * (isPast(item) ? 100 : percent(item));
  }
  return weights ? Math.min(Math.floor(sum / weights), 99) : 0;
}
