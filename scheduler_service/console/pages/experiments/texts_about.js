// The words of title, hypothesis and owner, in both languages.
export const about = {
  zh: {
    title_hint: "任何文字，选填；请求仍用上面的名称点名实验。", hypothesis_hint: "预期结果是什么，选填。", owner_hint: "有问题找谁，选填。",
    change: "修改说明", change_of: "修改实验 {name} 的说明", save: "保存", saved: "说明已保存。", none: "还没有标题、假设和负责人。", owned: "负责人：{owner}", assumed: "假设：{hypothesis}", wrong: "须是不超过 {longest} 个字符的一行文字。",
  },
  en: {
    title_hint: "In any script, optional; requests name the experiment by the name above.", hypothesis_hint: "What is expected to come out; optional.", owner_hint: "Whom to ask; optional.",
    change: "Change the description", change_of: "Description of the experiment {name}", save: "Save", saved: "The description is saved.", none: "It has no title, hypothesis or owner yet.", owned: "Owner: {owner}", assumed: "Hypothesis: {hypothesis}", wrong: "One line of at most {longest} characters.",
  },
};
