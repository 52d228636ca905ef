// The words of the monitoring page.
import en from "./texts_en.js";
import zh from "./texts_zh.js";

export const texts = { zh: { monitoring: zh }, en: { monitoring: en } };
