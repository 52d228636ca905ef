// A report in a tab of its own. A link cannot carry an API key, so with one the report is fetched and shown from memory.
import { api } from "../core/api.js";
import { download } from "../core/download.js";

const SHOWN_FOR_MS = 60_000;

/** false if the browser let no tab be opened, and the report was downloaded instead. */
export async function openReport(report) {
  const tab = window.open("", "_blank"); // at once: later it would count as a pop-up
  try {
    const content = await api.get(report.url, null, { as: "blob" });
    if (!tab) {
      download(report.name, content);
      return false;
    }
    tab.opener = null;
    const address = URL.createObjectURL(content);
    tab.location.replace(address);
    setTimeout(() => URL.revokeObjectURL(address), SHOWN_FOR_MS);
    return true;
  } catch (err) {
    tab?.close();
    throw err;
  }
}

export const downloadReport = async (report) => download(report.name, await api.get(report.url, null, { as: "blob" }));
