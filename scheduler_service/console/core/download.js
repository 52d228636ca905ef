// Files that the browser makes by itself.

/** Lets the user keep `content` (text, Blob or data URL) as the file `name`. */
export function download(name, content, type = "text/plain;charset=utf-8") {
  const isLink = typeof content === "string" && content.startsWith("data:");
  const href = isLink ? content : URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = Object.assign(document.createElement("a"), { href, download: name });
  link.click();
  if (!isLink) setTimeout(() => URL.revokeObjectURL(href), 10_000);
}

/** Rows (arrays or objects) as CSV that Excel opens with its Chinese intact (UTF-8 with byte order mark). */
export function toCsv(rows) {
  // What begins like a formula would be run by a spreadsheet.
  return `\ufeff${window.Papa.unparse(rows, { escapeFormulae: true })}`;
}

/** The rows of a CSV text as objects by its first line; throws an Error that names the line. */
export function fromCsv(text) {
  const { data, errors } = window.Papa.parse(text.replace(/^\ufeff/, ""), {
    header: true,
    skipEmptyLines: "greedy",
    transformHeader: (name) => name.trim(),
  });
  const error = errors.find((each) => each.type !== "Delimiter");
  if (error) throw new Error(`line ${(error.row ?? 0) + 2}: ${error.message}`);
  return data;
}
