import { expect, test } from "vitest";
import { mcqItems, mcqNet } from "../../test/helpers/mcq-net.ts";
import { mcq } from "../method/mcq.ts";
import { plot } from "./spec.ts";
import { svg } from "./svg.ts";
import { terminal } from "./terminal.ts";

test("where no share of the metric can be told, text and figure say so and show the metric itself", async () => {
  const items = mcqItems(() => 2);
  const found = await mcq(mcqNet("label"), items, { draws: 1, maxRank: 1 });
  const text = terminal(found, { columns: 100 });
  const why =
    "With all 9 nodes at the last position from other questions the metric changes by 0 logit [0, 0], an interval with 0 in it: no share that some of them keep can be told.";
  const words = text.replace(/\s+/g, " ");
  expect(words).toContain(`0 is all of 9 resampled, 9 none. ${why}`);
  expect(words).toContain(`In short - ${why}`);
  expect(text).toMatch(/^ +9 +4\.35 \[4\.35, 4\.35\] +1 \[1, 1\]$/m); // as it is
  expect(text).toMatch(/^nodes +metric \(logit\) +accuracy$/m);
  expect(words).not.toMatch(/NaN|\*|null|keep 9/);
  const warnings: string[] = [];
  const drawn = await svg(plot(found), { onWarning: (message) => warnings.push(message) });
  expect(warnings).toEqual([]);
  const shown = [...drawn.matchAll(/>([^<]+)</g)].map((match) => match[1]).join(" ");
  expect(shown.replace(/\s+/g, " ")).toContain(`4: ${why}`);
  expect(shown).toContain("4. metric by nodes kept: no share can be told");
  expect(shown).not.toMatch(/NaN|null|share of the metric kept/);
});
