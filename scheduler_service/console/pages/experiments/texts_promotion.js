// The words of the dialog of a promotion beside what speaks for it and against it, in both languages.
export const promotion = {
  zh: { verdict: "目前的结论：{word}。{reason}{next}", because: "{reason}。", consent: "我清楚 {b} 看来更差，仍要让它上线" },
  en: { verdict: "The verdict now: {word}. {reason}{next}", because: "It has none, since {reason}. ", consent: "I know that {b} looks worse, and promote it all the same" },
};
