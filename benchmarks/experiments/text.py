"""What stands above the tables."""

ERRORS_TEXT = (
    "## Equal models at any split\n\n"
    "{n:,} simulated experiments a cell, {users:,} users with one request each, at alpha 5 %, looked at after each "
    "request from the first one on, whatever `min_samples`. A row is a metric and a kind of requests, a column the "
    "shares of baseline and candidate. A cell says in how many experiments any look was wrong, `better` or `worse` "
    "(with the 95 % Wilson interval); behind the semicolon in how many of the first {before} the method of before "
    "was wrong: asymptotic bounds, adjusted by CUPED, from 25 users an arm on. `fail`: of the requests of either "
    "model."
)

SERVICES_TEXT = (
    "## Equal models, services of all sizes\n\n"
    "30 days. New: everybody comes once, looked at after each request ({n:,} experiments). Same: the same users "
    "send five requests each every day, so that their means move while one looks; half of a user's excess is the "
    "user's own, and all failures are those of a tenth of the users ({returning} experiments, {fewer} of the "
    "largest service; looked at after each request where there are 10 users, each 5th for 50, each 50th for 200, "
    "each 2,000th for 2,000)."
)

SPLIT_TEXT = (
    "## A split changed by hand, while the plants drift\n\n"
    "From 90/10 to 50/50 half way, when the plants become 4 % harder to plan for both models. New users: {n:,} "
    "experiments of 3,000, looked at after each. The same 300 users: {returning} experiments, 20 days, 30 looks "
    "through `judge`. Where the plain difference of the means, which such a drift shifts, is on the other side of "
    "zero, `judge` keeps silent; the short way counts it as wrong all the same."
)

PAIRS_TEXT = (
    "## Pairs of models that are equal on average\n\n"
    "The mean log ratio is exactly zero. New: everybody comes once within 30 days, looked at after each pair ({n:,} "
    "experiments). Same: five pairs a day of each user, half of the differences are the user's own ({returning} "
    "experiments, an eighth of the largest service). Behind the semicolon the method of before. Real schedules: "
    "greedy ones of both seed models for generated requests, their mean log ratio taken off, drawn with "
    "replacement."
)

REPLAYS_TEXT = (
    "## The best of many replays\n\n"
    "Each replay is of {replayed:,} other requests and looked at after each pair; wrong: any of them says `better`; "
    "{n:,} experiments. Counted: the k-th replay of two models is judged at alpha / (k (k + 1)), a single one at "
    "alpha."
)

GUARDS_TEXT = (
    "## False alarms of the guardrails\n\n"
    "{n:,} simulated experiments a line, {users:,} users, 2 % failures, looked at after each; at a third of 5 % for "
    "each of three guardrails, so any breach of the two shown may come in 3.33 %, of the execution time in 1.67 %. "
    "At the margins an alarm is as likely as it can be while it is false."
)

SLOW_TEXT = "Execution time: {few} experiments, {looks} looks up to {users:,} users, through `check_guardrails`."

PRICE_TEXT = (
    "## The price: users and pairs until a difference is found\n\n"
    "Greedy schedules of the seed models v1 and v2 for {n:,} generated requests. The baseline's makespans are v1's. "
    "The candidate's log ratios to it are those of v2, shifted by one constant so that the geometric mean is 1 % or "
    "3 % shorter: the effect is made, the noise of the pairs is real. Users, one request each, drawn with "
    "replacement, {resampled} experiments a cell, looked at after each: users, of both arms together, until 80 % of "
    "the experiments said `better`; in brackets with the method of before, whose errors at 95/5 and 90/10 are those "
    "of the first table."
)

RAMPS_TEXT = (
    "## Until a bad candidate is stopped, and a better one promoted\n\n"
    "Simulated: {n} rollouts a line, {days} days. The same users come each day with {requests} requests each, "
    "plants of one size for each user, real schedules as above, shadow pairs of every request where shadow is on by "
    "default (`default_shadow`). `ABTestManager` decides, by a clock of its own, after each of the first 20 requests "
    "and each that fails, then whenever there are a quarter more, and when a stage may be left: days and requests "
    "may be up to a quarter too high. Median / 90 % of the rollouts. Rollouts against a running service are in "
    "[experiments_live.md](experiments_live.md)."
)

DAYS_TEXT = (
    "## Projected days\n\n"
    "{n} simulated experiments a line, 200 new users a day, halves, looked at after 1, 2, 4, 8 and 16 days by "
    "`judge` as long as it is undecided. The real day is that of the first look, after any user, that decides; for "
    "equal models it mostly never comes, and only a range without an end, or no number, is right. Earlier, later: "
    "the real day is outside of the range. Projected / real: median, where the real day came within 300 days."
)
