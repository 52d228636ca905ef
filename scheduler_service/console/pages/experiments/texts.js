// The page's words, in both languages.
import { about } from "./texts_about.js";
import { promotion } from "./texts_promotion.js";
import { sizes } from "./texts_sizes.js";
import { zh } from "./texts_zh.js";
import { en } from "./texts_en.js";

export const texts = { zh: { experiments: { ...zh, said: about.zh, promotion: promotion.zh, sizes: sizes.zh } }, en: { experiments: { ...en, said: about.en, promotion: promotion.en, sizes: sizes.en } } };
