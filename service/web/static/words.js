// What the page says: the words come with the page as data, numbers and times are put as the server puts them.

const catalogue = JSON.parse(document.getElementById("words").textContent);
const language = document.documentElement.lang;
const moments = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" });

export const knows = (key) => key in catalogue;

export function say(key, values = {}) {
  return catalogue[key].replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

export const sayEither = (key, other) => say(knows(key) ? key : other);

export const fileCount = (count) => say(count === 1 ? "files.one" : "files.other", { count });

// Decimal units, three digits: 1.05 GB.
export function size(bytes) {
  const units = [say("unit.bytes"), "kB", "MB", "GB", "TB", "PB", "EB"];
  let unit = 0;
  for (; bytes >= 999.5 && unit < units.length - 1; unit++) bytes /= 1000;
  return `${Number(bytes.toPrecision(3))} ${units[unit]}`;
}

// The two largest units: 3 min 20 s.
export function duration(seconds) {
  let left = Math.max(0, Math.round(seconds));
  const parts = [];
  for (const [unit, length] of [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]]) {
    const count = Math.floor(left / length);
    left %= length;
    if (count) parts.push(`${count} ${say(unit === "day" ? `unit.day.${count === 1 ? "one" : "other"}` : `unit.${unit}`)}`);
    else if (parts.length) break;
  }
  return parts.slice(0, 2).join(" ") || `0 ${say("unit.second")}`;
}

export const moment = (text) => moments.format(new Date(text));

export const listed = (parts) => parts.filter(Boolean).join(say("list.separator"));
