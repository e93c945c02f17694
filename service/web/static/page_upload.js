// The upload page. Its plain form works without this; here it takes drops and paste too, and sends files as they come.

import { fromClipboard, fromDrop, fromInput } from "./gather.js";
import { hide, Uploads } from "./uploads.js";

const byId = (id) => document.getElementById(id);

function showUploads(form) {
  const fields = ["format", "level", "expires", "notify_email"].map((name) => form.elements[name]).filter(Boolean);
  const uploads = new Uploads(() => Object.fromEntries(fields.map(({ name, value }) => [name, value.trim()])));
  // A mistyped address is told beside its field, before anything is sent.
  const add = (files) => form.reportValidity() && uploads.add(files, byId("archive").checked);
  form.classList.add("scripted");
  form.querySelectorAll("[data-script], #folder").forEach((element) => (element.hidden = false));
  form.querySelectorAll("[data-plain]").forEach((element) => (element.hidden = true));
  for (const input of [byId("file"), byId("folder")]) {
    input.addEventListener("change", () => {
      add(fromInput(input));
      input.value = "";
    });
  }
  // Enter in a field must not ask for files: those chosen have left already.
  byId("file").required = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  takeDrops(uploads, add);
  document.addEventListener("paste", (event) => {
    if (event.target.closest?.("input, textarea")) return;
    add(fromClipboard(event.clipboardData));
  });
  byId("clear").addEventListener("click", () => uploads.clear());
  byId("notify").addEventListener("click", async ({ currentTarget }) => {
    await Notification.requestPermission();
    hide(currentTarget, true);
  });
  uploads.restore();
}

function takeDrops(uploads, add) {
  const isFiles = (event) => event.dataTransfer?.types.includes("Files");
  const hint = byId("dropping");
  document.addEventListener("dragover", (event) => {
    if (!isFiles(event)) return;
    event.preventDefault();
    hint.hidden = false;
  });
  document.addEventListener("dragleave", (event) => {
    // Leaving one element for another is no leaving of the page.
    if (event.relatedTarget === null) hint.hidden = true;
  });
  document.addEventListener("drop", async (event) => {
    if (!isFiles(event)) return;
    event.preventDefault();
    hint.hidden = true;
    const { files, amiss } = await fromDrop(event.dataTransfer);
    add(files);
    uploads.sayAmiss(amiss);
  });
}

showUploads(byId("upload"));
