// Files that the browser makes by itself.

/** Lets the user keep `content` (text, Blob or data URL) as the file `name`. */
export function download(name, content, type = "text/plain;charset=utf-8") {
  const isLink = typeof content === "string" && content.startsWith("data:");
  const href = isLink ? content : URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = Object.assign(document.createElement("a"), { href, download: name });
  link.click();
  if (!isLink) setTimeout(() => URL.revokeObjectURL(href), 10_000);
}

const FORMULA = /^'*[=+\-@\t\r]/; // a spreadsheet would run it; the service's reader takes the mark off again

function cell(value) {
  const text = typeof value === "string" && FORMULA.test(value) ? `'${value}` : String(value ?? "");
  return /[",;\t\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Rows (arrays, or objects of the same members) as CSV that Excel opens with its Chinese intact (UTF-8 with byte order mark). */
export function toCsv(rows) {
  const lines = Array.isArray(rows[0]) ? rows : [Object.keys(rows[0] ?? {}), ...rows.map((row) => Object.values(row))];
  return `\ufeff${lines.map((line) => line.map(cell).join(",")).join("\r\n")}`;
}
