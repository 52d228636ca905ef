// A page's own rules, loaded once with the page: await it before the page is drawn, so that nothing jumps.
const loaded = new Map();

export function useStyle(url) {
  const href = String(url);
  if (!loaded.has(href)) {
    loaded.set(
      href,
      new Promise((resolve) => {
        const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href });
        link.onload = link.onerror = resolve;
        document.head.append(link);
      }),
    );
  }
  return loaded.get(href);
}
