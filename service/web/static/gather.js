// Files from wherever people have them: inputs, drops with folders in them, the clipboard. All end as {file, path}.

import { say } from "./words.js";

export const fromInput = (input) => [...input.files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));

// The entries must be taken before the first await: a drop's items are gone after it.
export async function fromDrop(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return { files: fromInput(transfer), amiss: [] };
  const [files, amiss] = [[], []];
  for (const entry of entries) {
    const before = files.length + amiss.length;
    await walk(entry, "", files, amiss);
    if (files.length + amiss.length === before) amiss.push(say("script.empty_folder", { name: entry.name }));
  }
  return { files, amiss };
}

// What cannot be read is told, and takes nothing else with it.
async function walk(entry, above, found, amiss) {
  const path = above + entry.name;
  try {
    if (entry.isFile) found.push({ file: await new Promise((resolve, reject) => entry.file(resolve, reject)), path });
    else for await (const child of childrenOf(entry)) await walk(child, `${path}/`, found, amiss);
  } catch {
    amiss.push(say("script.unreadable_entry", { name: path }));
  }
}

async function* childrenOf(folder) {
  const reader = folder.createReader();
  // It gives at most a hundred at a time, and nothing at the end.
  for (let batch; (batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject))).length; ) yield* batch;
}

// Pasted files as they are; an image or a text without a name gets the time as its name.
export function fromClipboard(data) {
  const name = (extension) => `${say("script.pasted", { time: stamp() })}.${extension}`;
  const files = [...data.files].map((file) => {
    const isNameless = file.name === "" || /^image\.\w+$/.test(file.name);
    return { file, path: isNameless ? name(file.type.split("/")[1] || "bin") : file.name };
  });
  const text = data.getData("text/plain");
  // Beside text, a picture without a name is what a spreadsheet adds to its cells.
  if (files.length && !(text && files.every(({ path, file }) => path !== file.name))) return files;
  if (!text) return [];
  const path = name("txt");
  return [{ file: new File([text], path, { type: "text/plain" }), path }];
}

const stamp = () => new Date().toISOString().slice(0, 19).replaceAll(":", "-").replace("T", "-");
