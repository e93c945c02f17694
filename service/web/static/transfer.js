// One upload, until its 202: bytes sent with a smoothed rate, tried again by itself when the network or the server is away.
// Every try carries the same Idempotency-Key, so that a job is made once, however often its answer is lost.

import { at } from "./address.js";
import { refusal } from "./phrases.js";
import { say } from "./words.js";

const PAUSES_SECONDS = [1, 2, 4, 8, 15, 30];
// Until that is said, and until it tries again.
const QUIET_MILLISECONDS = 10_000;
const STALLED_MILLISECONDS = 75_000;
const SLOWEST_BYTES_PER_MILLISECOND = 2000;
const SMOOTHED_SECONDS = 3;
const PASSING = new Set([408, 409, 429, 502, 503, 504]);

export class Stopped extends Error {}

export class Refused extends Error {
  constructor(failure) {
    super(failure.code);
    this.failure = failure;
  }
}

export class Transfer {
  constructor(item, changed) {
    this.item = item;
    this.changed = changed;
    // The file's for as long as what is asked for stays the same: a try whose receipt was lost is found again by it.
    this.key = item.uploadKey ??= crypto.getRandomValues(new Uint32Array(4)).join("-");
    this.isStopped = false;
  }

  // Returns the job as its receipt shows it, with its manage key.
  async run() {
    for (let tries = 0; ; tries++) {
      const answer = await this.#send();
      if (this.isStopped) throw new Stopped();
      const said = documentOf(answer);
      if (answer.status === 202 && said.id) return said;
      if (answer.status && !PASSING.has(answer.status)) throw new Refused(refusal(said, answer.status));
      if (!answer.status && !(await this.#isReadable())) {
        throw new Refused({ title: say("state.failed"), advice: say("script.unreadable"), code: "unreadable", isFinal: true });
      }
      const pause = PAUSES_SECONDS[Math.min(tries, PAUSES_SECONDS.length - 1)];
      await this.#countDown(answer.status ? "busy" : "offline", Math.max(pause, answer.retryAfter || 0));
    }
  }

  stop() {
    this.isStopped = true;
    this.request?.abort();
    this.wakeUp?.();
  }

  #enter(phase, more = {}) {
    this.item.transfer = { phase, sent: 0, total: this.item.size, rate: 0, ...more };
    this.changed();
  }

  #send() {
    this.#enter("uploading");
    const request = (this.request = new XMLHttpRequest());
    request.open("POST", this.#address());
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("Idempotency-Key", this.key);
    return new Promise((resolve) => {
      const watch = this.#watch(request);
      request.onloadend = () => {
        clearInterval(watch);
        const retryAfter = Number(request.getResponseHeader("Retry-After"));
        resolve({ status: request.status, text: request.responseText, retryAfter });
      };
      request.send(this.#body(request));
    });
  }

  #address() {
    const { options, files } = this.item;
    const asked = Object.entries(options).filter(([, value]) => value);
    if (!this.item.isArchive) asked.push(["filename", files[0].path]);
    return `${at}/uploads?${new URLSearchParams(asked)}`;
  }

  #body(request) {
    const { files, isArchive } = this.item;
    if (isArchive) {
      const form = new FormData();
      for (const { file, path } of files) form.append("file", file, path);
      return form;
    }
    // Types of forms, and of other bodies that hold parts, are refused: a saved page (.mht) is multipart/related.
    const type = files[0].file.type;
    request.setRequestHeader("Content-Type", /^(?!multipart)[a-z]+\/(?!x-www-form)[\w.+-]+$/.test(type) ? type : "application/octet-stream");
    return files[0].file;
  }

  // Counts what is sent, says when nothing moves, and gives up on a connection that says nothing any more.
  #watch(request) {
    const { transfer } = this.item;
    let [last, lastSent, moved] = [performance.now(), 0, performance.now()];
    request.upload.onprogress = ({ loaded, total }) => {
      const now = performance.now();
      if (loaded > transfer.sent) {
        moved = now;
        // A pause is in no rate.
        if (transfer.isStalled) [last, lastSent, transfer.rate] = [now, loaded, 0];
        transfer.isStalled = false;
      }
      // A form is somewhat longer than its files.
      Object.assign(transfer, { sent: loaded, total });
      const seconds = (now - last) / 1000;
      if (seconds >= 0.25) {
        const weight = transfer.rate ? 1 - Math.exp(-seconds / SMOOTHED_SECONDS) : 1;
        transfer.rate += weight * ((loaded - lastSent) / seconds - transfer.rate);
        [last, lastSent] = [now, loaded];
      }
      this.changed();
    };
    request.upload.onload = () => {
      // What stands between may still be passing it on.
      moved = performance.now() + transfer.total / SLOWEST_BYTES_PER_MILLISECOND;
      this.item.mayBeReceived = true;
      Object.assign(transfer, { phase: "receiving", sent: transfer.total });
      this.changed();
    };
    return setInterval(() => {
      const quiet = performance.now() - moved;
      if (quiet > STALLED_MILLISECONDS) request.abort();
      if (quiet <= QUIET_MILLISECONDS || transfer.isStalled || transfer.phase !== "uploading") return;
      transfer.isStalled = true;
      this.changed();
    }, 1000);
  }

  // A file that was moved or changed since it was chosen fails like a lost network; reading it tells.
  async #isReadable() {
    try {
      await Promise.all(this.item.files.map(({ file }) => file.slice(0, 1).arrayBuffer()));
      return true;
    } catch {
      return false;
    }
  }

  async #countDown(phase, seconds) {
    // The network says nothing about a server that is busy.
    const online = () => phase === "offline" && this.wakeUp();
    window.addEventListener("online", online);
    for (let left = seconds, isAwake = false; left > 0 && !isAwake && !this.isStopped; left--) {
      this.#enter(phase, { seconds: left });
      isAwake = await new Promise((resolve) => {
        this.wakeUp = () => resolve(true);
        setTimeout(resolve, 1000, false);
      });
    }
    window.removeEventListener("online", online);
    if (this.isStopped) throw new Stopped();
  }
}

function documentOf({ text }) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}
