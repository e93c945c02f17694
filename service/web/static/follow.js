// All jobs of a page through one held request: a browser has six connections a host, so a request for each would hold
// back everything else. Never asks again sooner than Retry-After says.

import { at } from "./address.js";
import { millisecondsLeft } from "./phrases.js";

const HELD_SECONDS = 25;
const DEAD_SECONDS = HELD_SECONDS + 15;
const DEAD = "dead";
const HIDDEN_PAUSE_SECONDS = 5;
const MOST_AT_ONCE = 200;
const LONGEST_PAUSE_SECONDS = 30;
// One set for longer than 31 bits goes off at once.
const LONGEST_TIMER_MILLISECONDS = 2e9;

export class Follower {
  // wanted() gives the ids still to follow; changed(jobs, missing) and lost(isLost) are told what comes.
  constructor({ wanted, changed, lost }) {
    Object.assign(this, { wanted, changed, lost });
    this.isRunning = false;
  }

  // Call whenever there may be something new to follow: a held request does not know of it.
  async follow() {
    if (this.isRunning) {
      this.held?.abort();
      return;
    }
    this.isRunning = true;
    let failures = 0;
    for (let ids; (ids = this.wanted().slice(0, MOST_AT_ONCE)).length; ) {
      const answer = await this.#ask(ids).catch(() => null);
      failures = answer ? 0 : failures + 1;
      if (failures < 2) this.lost(failures > 0);
      if (answer?.news) this.changed(answer.news.jobs, answer.news.missing);
      await sleep(answer?.pause ?? Math.min(2 ** failures, LONGEST_PAUSE_SECONDS));
    }
    this.isRunning = false;
  }

  // Asks again when the time of the first of these should be over.
  awaitEnd(items) {
    clearTimeout(this.timer);
    const left = Math.min(...items.map(millisecondsLeft).filter((milliseconds) => milliseconds > 0));
    if (left < LONGEST_TIMER_MILLISECONDS) this.timer = setTimeout(() => this.follow(), left + 1000);
  }

  // Returns what is new, if anything, and after how many seconds to ask again; null where the server could not say.
  async #ask(ids) {
    const isSame = ids.join() === this.asked;
    const headers = { Accept: "application/json", ...(isSame && this.tag ? { "If-None-Match": this.tag } : {}) };
    // A page nobody looks at leaves the connection to those that are looked at.
    const wait = isSame && !document.hidden ? `&wait=${HELD_SECONDS}` : "";
    const least = document.hidden ? HIDDEN_PAUSE_SECONDS : 1;
    const asking = new AbortController();
    this.held = wait ? asking : null;
    // A connection that has died without a word must not be waited for.
    const timer = setTimeout(() => asking.abort(DEAD), 1000 * DEAD_SECONDS);
    const asked = fetch(`${at}/jobs?ids=${ids.join()}${wait}`, { headers, cache: "no-store", signal: asking.signal });
    const response = await asked.catch(() => null);
    clearTimeout(timer);
    this.held = null;
    if (asking.signal.aborted && asking.signal.reason !== DEAD) return { news: null, pause: least };
    if (!response || (!response.ok && response.status !== 304)) return null;
    const news = response.status === 200 ? await response.json() : null;
    [this.asked, this.tag] = [ids.join(), response.headers.get("ETag")];
    return { news, pause: Math.max(least, Number(response.headers.get("Retry-After"))) };
  }
}

const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
