// Chinese by default, English by switch. A page brings its words along: addMessages({zh, en}).
import { createI18n } from "vue-i18n";
import { messages } from "../parts/texts.js";

const LANG = "scheduler.lang";

const chosen = () => {
  try {
    const wanted = new URLSearchParams(location.search).get("lang") ?? localStorage.getItem(LANG);
    return wanted === "en" ? "en" : "zh";
  } catch {
    return "zh";
  }
};

export const i18n = createI18n({ legacy: false, locale: chosen(), fallbackLocale: "en", messages, warnHtmlMessage: false });

export function setLanguage(lang) {
  i18n.global.locale.value = lang;
  try {
    localStorage.setItem(LANG, lang);
  } catch {
    // It then lasts as long as the page.
  }
}

export function addMessages({ zh, en }) {
  i18n.global.mergeLocaleMessage("zh", zh);
  i18n.global.mergeLocaleMessage("en", en);
}
