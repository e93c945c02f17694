// An item in words: what it is doing, how far it is, why it failed. The jobs' part says the same as phrases.py.

import { duration, knows, listed, say, sayEither, size } from "./words.js";

const FAR = 100;
const ENDED = new Set(["succeeded", "failed", "cancelled", "expired"]);

export const hasEnded = (item) =>
  Boolean(item.failure) || item.transfer?.phase === "stopped" || (item.job !== null && ENDED.has(item.job.status));
const isDamaged = (job) => Boolean(job?.result?.damaged_at);
export const hasFailed = (item) => Boolean(item.failure) || item.job?.status === "failed" || isDamaged(item.job);

// Between 0 and 100: the first half is the upload, the second the work on it.
export function percent(item) {
  if (item.job) return item.isUploadedHere ? 50 + item.job.progress.percent / 2 : item.job.progress.percent;
  const { sent = 0, total = 0 } = item.transfer ?? {};
  return total ? (50 * sent) / total : 0;
}

export function status(item) {
  if (hasFailed(item)) return "failed";
  return item.job ? item.job.status : item.transfer.phase;
}

export function state(item) {
  if (item.failure) return say("state.failed");
  if (!item.job && item.isUnwanted) return say("state.cancelling");
  return item.job ? jobState(item.job) : transferState(item.transfer);
}

function transferState({ phase, sent, total, rate, seconds }) {
  switch (phase) {
    case "uploading":
      return listed([
        moving(say("state.uploading"), total ? Math.floor((1000 * sent) / total) / 10 : 0, rate, (total - sent) / rate),
        say("state.step"),
      ]);
    case "offline":
    case "busy":
      return say(`state.${phase}`, { time: duration(seconds) });
    case "stopped":
      return say("state.cancelled");
    default:
      return say(`state.${phase}`);
  }
}

function jobState(job) {
  switch (job.status) {
    case "queued": {
      const position = job.queue_position;
      return say(position < FAR ? "state.queued" : "state.queued.far", { position });
    }
    case "running": {
      if (job.cancel_requested) return say("state.cancelling");
      const { phase, percent: done, bytes_per_second: rate, eta_seconds: left } = job.progress;
      return moving(say(`state.${phase}`), done, rate, left);
    }
    case "succeeded":
      return isDamaged(job) ? say("state.damaged") : outcome(job);
    case "failed":
      return say("state.failed");
    default:
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
