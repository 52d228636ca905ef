// The page's words, in both languages.
import { promotion } from "./texts_promotion.js";
import { zh } from "./texts_zh.js";
import { en } from "./texts_en.js";

export const texts = { zh: { experiments: { ...zh, promotion: promotion.zh } }, en: { experiments: { ...en, promotion: promotion.en } } };
