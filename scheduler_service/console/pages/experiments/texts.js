// The page's words, in both languages.
import { about } from "./texts_about.js";
import { promotion } from "./texts_promotion.js";
import { zh } from "./texts_zh.js";
import { en } from "./texts_en.js";

export const texts = { zh: { experiments: { ...zh, said: about.zh, promotion: promotion.zh } }, en: { experiments: { ...en, said: about.en, promotion: promotion.en } } };
