// The words of the breakdown by size of plant, in both languages.
export const sizes = {
  zh: {
    heading: "按工厂规模", metric: "{metric}，{b} 对比 {a}", workpoints: "工作点", class_one: "{from} 个", class_range: "{from}–{to} 个", class_more: "{from} 个及以上", improvement: "改进（% 的 {a}）", hours: "差值（{unit}）", samples: "用户 / 请求", pairs: "用户 / 配对", none: "没有请求", no_interval: "还没有区间：{reason}",
    note: "这是对结论的细分，不作任何判定：五个区间各按 {level} 计算，合起来与结论的置信水平相同，任何时候查看都有效。只挑其中一行来下结论会出错。", unknown: "另有 {count} 次没有记录规模。", label: "{size}：改进 {estimate}，区间 {low} 至 {high}",
  },
  en: {
    heading: "By size of plant", metric: "{metric}, {b} against {a}", workpoints: "Work points", class_one: "{from}", class_range: "{from}–{to}", class_more: "{from} and more", improvement: "Improvement (% of {a})", hours: "Difference ({unit})", samples: "Users / requests", pairs: "Users / pairs", none: "no request", no_interval: "no interval yet: {reason}",
    note: "This breaks the verdict down and decides nothing: each of the five intervals is held to {level}, so that all together hold as the verdict does, at any time. Picking one row to decide by would mislead.", unknown: "The size of {count} more is not on record.", label: "{size}: improvement {estimate}, between {low} and {high}",
  },
};
