// What this browser uploaded, with the keys to manage it: kept by the browser only, and in no link.

import { at } from "./address.js";

// Of one service: others may be on the same host, under other paths.
const NAME = `vacpack.jobs${at}`;
const MOST = 2000;

export function remembered() {
  try {
    const kept = JSON.parse(localStorage.getItem(NAME) ?? "[]");
    return Array.isArray(kept) ? kept.filter(({ id, name }) => /^[a-z2-7]{26}$/.test(id) && typeof name === "string") : [];
  } catch {
    return [];
  }
}

// Other tabs write the same list: it is read again each time, and only what changed here is changed.
export function remember(added, removed = []) {
  if (!added.length && !removed.length) return;
  const gone = new Set([...removed, ...added.map(({ id }) => id)]);
  const list = [...added, ...remembered().filter(({ id }) => !gone.has(id))].slice(0, MOST);
  try {
    localStorage.setItem(NAME, JSON.stringify(list));
  } catch {
    // Full, or switched off: the list lasts as long as the page.
  }
}

// Calls back when another tab has changed the list.
export const onRemembered = (callback) => addEventListener("storage", ({ key }) => key === NAME && callback());

export const keyOf = (id) => remembered().find((kept) => kept.id === id)?.key ?? null;
