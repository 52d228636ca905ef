// The pages, in the order of the navigation: to add one, add a line here and the folder `pages/<name>` with its index.js.
import { addMessages } from "../core/i18n.js";

export const PAGES = [
  { name: "schedule", parameter: ":runs?", title: { zh: "排程", en: "Schedule" } },
  { name: "models", parameter: ":key?", title: { zh: "模型", en: "Models" } },
  { name: "experiments", parameter: ":name?", title: { zh: "实验", en: "Experiments" } },
  { name: "monitoring", parameter: "", title: { zh: "监控", en: "Monitoring" } },
];

for (const { name, title } of PAGES) addMessages({ zh: { shell: { [name]: title.zh } }, en: { shell: { [name]: title.en } } });

/** Loaded when it is first opened. */
export const routes = PAGES.map(({ name, parameter }) => ({
  path: `/${name}${parameter && `/${parameter}`}`,
  component: () => import(`./${name}/index.js`),
  meta: { title: `shell.${name}` },
}));
