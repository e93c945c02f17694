// An item in words: what it is doing, how far it is, why it failed. The jobs' part says the same as phrases.py.

import { duration, knows, listed, say, sayEither, size } from "./words.js";

const FAR = 100;
const ENDED = new Set(["succeeded", "failed", "cancelled", "expired"]);

export const hasEnded = (item) =>
  Boolean(item.failure) || item.transfer?.phase === "stopped" || (item.job !== null && ENDED.has(item.job.status));
const isDamaged = (job) => Boolean(job?.result?.damaged_at);
export const hasFailed = (item) => Boolean(item.failure) || item.job?.status === "failed" || isDamaged(item.job);

// Until its files' time is over by this clock, which may be wrong: the server is asked.
export function millisecondsLeft(item) {
  if (!item.job?.expires_at || item.failure || item.isExpired) return Infinity;
  return new Date(item.job.expires_at) - Date.now();
}
export const isDue = (item) => millisecondsLeft(item) <= 0;

// Whole percents of the step it is in, the upload or the work on it: text, bar and title show this number and no other.
// 100 is success only: all sent is not yet all received.
export function percent(item) {
  if (item.job) return Math.floor(item.job.progress.percent);
  const { sent = 0, total = 0 } = item.transfer ?? {};
  return total ? Math.min(Math.floor((100 * sent) / total), 99) : 0;
}

export function status(item) {
  if (item.isExpired) return "expired";
  if (hasFailed(item)) return "failed";
  return item.job ? item.job.status : item.transfer.phase;
}

export function state(item) {
  if (item.isExpired) return say("state.expired");
  if (item.failure) return say("state.failed");
  if (!item.job && item.isUnwanted) return say("state.cancelling");
  return item.job ? jobState(item.job, percent(item)) : transferState(item.transfer, percent(item));
}

function transferState({ phase, isStalled, sent, total, rate, seconds }, done) {
  switch (phase) {
    case "uploading":
      if (isStalled) return listed([moving(say("state.uploading"), done), say("state.stalled")]);
      return listed([moving(say("state.uploading"), done, rate, (total - sent) / rate), say("state.step")]);
    case "offline":
    case "busy":
      return say(`state.${phase}`, { time: duration(seconds) });
    case "stopped":
      return say("state.cancelled");
    default:
      return say(`state.${phase}`);
  }
}

function jobState(job, done) {
  switch (job.status) {
    case "queued": {
      const { queue_position: position, waiting_for: trouble } = job;
      const place = say(position < FAR ? "state.queued" : "state.queued.far", { position });
      return trouble ? listed([place, sayEither(`waiting.${trouble}`, "waiting.other")]) : place;
    }
    case "running": {
      if (job.cancel_requested) return say("state.cancelling");
      const { phase, bytes_per_second: rate, eta_seconds: left } = job.progress;
      return moving(say(`state.${phase}`), done, rate, left);
    }
    case "succeeded":
      return isDamaged(job) ? say("state.damaged") : outcome(job);
    case "failed":
      return say("state.failed");
    case "cancelled":
    case "expired":
      return say("state.cancelled");
  }
}

function moving(what, done, rate, left) {
  const parts = [`${what} ${say("state.percent", { percent: done })}`];
  if (rate) parts.push(say("unit.rate", { size: size(rate) }), say("state.left", { time: duration(left) }));
  return listed(parts);
}

function outcome({ source, result, started_at: started, finished_at: finished }) {
  if (result.stored_as_is) return say("state.as_is", { size: size(source.size_bytes) });
  const change = result.saved_percent >= 0 ? "state.smaller" : "state.larger";
  // Of what is still there, not everything was saved.
  const saved = result.size_bytes ? Math.min(result.saved_percent, 99.9) : result.saved_percent;
  const seconds = Math.max(0, new Date(finished) - new Date(started)) / 1000;
  return listed([
    say("state.succeeded", { before: size(source.size_bytes), after: size(result.size_bytes) }),
    say(change, { percent: Math.abs(saved) }),
    result.format,
    seconds >= 0.5 ? duration(seconds) : say("state.moment"),
  ]);
}

// What went wrong, what to do, and the code for whoever runs the server; null where nothing did.
export function why(item) {
  if (item.failure) return item.failure;
  if (item.isExpired) return { title: say("error.job_expired"), advice: say("advice.job_expired"), code: "job_expired" };
  if (isDamaged(item.job)) return { title: say("error.result_damaged"), advice: say("advice.result_damaged"), code: "result_damaged" };
  if (item.job?.status !== "failed") return null;
  const { code } = item.job.error;
  return { title: sayEither(`failure.${code}`, "state.failed"), advice: sayEither(`advice.${code}`, "advice.other"), code };
}

// A refusal, from its problem document (RFC 9457); without one it comes from something between page and server.
export function refusal({ code, option, title }, status) {
  if (!code && status === 413) code = "upload_too_large";
  if (!code) return { title: say("script.refused", { status }), advice: say("script.refused.advice"), code: `http_${status}` };
  const field = option && document.querySelector(`label[for="${CSS.escape(option)}"]`);
  const advice = field ? say("script.bad_option", { option: field.textContent }) : sayEither(`advice.${code}`, "advice.other");
  return { title: knows(`error.${code}`) ? say(`error.${code}`) : title, advice, code };
}
