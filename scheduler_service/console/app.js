// The console's frame: navigation, language, the API key; each page is loaded when it is first opened.
import { createApp, watchEffect } from "vue";
import { createRouter, createWebHashHistory } from "vue-router";
import { i18n } from "./core/i18n.js";
import { loadWords } from "./core/words.js";
import { PAGES, routes } from "./pages/index.js";
import Shell from "./parts/shell.js";
import EChart from "./parts/chart.js";
import LoadState from "./parts/load_state.js";
import { FieldMistake, MistakeList } from "./parts/mistakes.js";
import Nowhere from "./parts/nowhere.js";
import StatusBadge from "./parts/badge.js";

const router = createRouter({
  history: createWebHashHistory(),
  routes: [
    { path: "/", redirect: `/${PAGES[0].name}` },
    ...routes,
    { path: "/:nothing(.*)*", component: Nowhere, meta: { title: "shell.nowhere" } },
  ],
});

// A page that is opened after an upgrade of the service: its files are gone.
router.onError(async (_, to) => {
  const own = await fetch(import.meta.url, { cache: "no-store" }).catch(() => null);
  if (own?.status !== 404) return;
  location.hash = to.fullPath;
  window.reloadSoon();
});

watchEffect(() => {
  const title = router.currentRoute.value.meta.title;
  const { t, locale } = i18n.global;
  document.documentElement.lang = locale.value === "zh" ? "zh-CN" : "en";
  document.title = title ? `${t(title)} · ${t("shell.product")}` : t("shell.product");
});

await loadWords();
createApp(Shell)
  .use(router)
  .use(i18n)
  .component("EChart", EChart)
  .component("FieldMistake", FieldMistake)
  .component("LoadState", LoadState)
  .component("MistakeList", MistakeList)
  .component("StatusBadge", StatusBadge)
  .mount("#app");
try {
  sessionStorage.removeItem("reloads");
} catch {
  // Without storage, reload.js reloads nothing.
}
