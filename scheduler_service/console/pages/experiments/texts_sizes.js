// The words of the breakdown by size of plant, in both languages.
export const sizes = {
  zh: {
    metric: "{metric}，{b} 对比 {a}", workpoints: "工作点", class_one: "{from}", class_range: "{from}–{to}", improvement: "改进（% 的 {a}）", hours: "差值（{unit}）", samples: "用户 / 请求", pairs: "用户 / 配对",
    label: "{size}：改进 {estimate}，区间 {low} 至 {high}",
  },
  en: {
    metric: "{metric}, {b} against {a}", workpoints: "Work points", class_one: "{from}", class_range: "{from}–{to}", improvement: "Improvement (% of {a})", hours: "Difference ({unit})", samples: "Users / requests", pairs: "Users / pairs",
    label: "{size}: improvement {estimate}, between {low} and {high}",
  },
};
