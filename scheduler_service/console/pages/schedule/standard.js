// The default plant and its standard inspection cycle, as in scheduler_env/standard_cycle.py (a test compares them).
export const TEAMS = [
  { name: "team1", headcount: 5, dedicated: true },
  { name: "team2", headcount: 10, dedicated: false },
  { name: "team3", headcount: 10, dedicated: false },
  { name: "team4", headcount: 5, dedicated: true },
  { name: "team5", headcount: 15, dedicated: false },
  { name: "team6", headcount: 5, dedicated: true },
];

export const STEPS = [
  ["搭架子", "scaffolding", 1, "team1", 10],
  ["拆保温", "insulation removal", 2, "team2", 5],
  ["打磨", "grinding", 3, "team2", 8],
  ["宏观检验", "visual inspection", 4, "team3", 6],
  ["壁厚测定", "wall thickness", 4, "team3", 7],
  ["射线检测", "radiographic testing", 4, "team4", 9],
  ["表面检测", "surface testing", 4, "team5", 6],
  ["超声检测", "ultrasonic testing", 4, "team5", 7],
  ["其他无损检测", "other NDT", 4, "team5", 6],
  ["铁素体检测", "ferrite testing", 4, "team3", 7],
  ["硬度检测", "hardness testing", 4, "team3", 7],
  ["金相检验", "metallography", 4, "team3", 7],
  ["检验结果评定", "result evaluation", 5, "team3", 4],
  ["返修", "repair", 6, "team6", 7],
  ["合格报告出具", "acceptance report", 7, "team3", 5],
].map(([zh, en, order, team, sample]) => ({ zh, en, order, team, sample }));

export const SAMPLE = STEPS.map((step) => step.sample);
export const MAX_HOURS = 10_000;

const ENGLISH = new Map(STEPS.map((step) => [step.zh, step.en]));

/** A step's name in the reader's language: standard steps have both, others stay as they are. */
export const stepName = (name, lang) => (lang === "en" ? (ENGLISH.get(name) ?? name) : name);
