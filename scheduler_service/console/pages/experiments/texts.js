// The page's words, in both languages.
import { zh } from "./texts_zh.js";
import { en } from "./texts_en.js";

export const texts = { zh: { experiments: zh }, en: { experiments: en } };
