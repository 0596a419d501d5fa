/** Why nodes of a warm set are not warm: how many for each reason, one sentence, and their names. */

import { h } from "../dom.js";
import { number } from "../format.js";
import { t } from "../language.js";
import { worded } from "../messages.js";
import { byReason } from "../state/set_standing.js";
import { icon } from "./icons.js";
import { nodeName } from "./places.js";
import { PlainTable } from "./plain_table.js";

const SHOWN = 5;

export class SetReasons {
  #table = new PlainTable(t("sets.why"), ["reason", "count", "example", "nodes"].map((key) => t(`sets.${key}`)));
  element = h(
    "section",
    { class: "card failures", hidden: true, "aria-labelledby": "set-why" },
    h("h2", { id: "set-why" }, icon("warning"), t("sets.why")),
    this.#table.element,
  );

  /** @param {Api.WarmSetNode[]} nodes of the set */
  update(nodes) {
    const groups = byReason(nodes);
    this.element.hidden = groups.length === 0;
    this.#table.show(groups.map(row), "");
  }
}

/** @param {import("../state/set_standing.js").ReasonGroup} group */
function row({ reason, nodes }) {
  const names = nodes.slice(0, SHOWN).map(({ nodeName: name }) => h("div", {}, nodeName(name)));
  const more = nodes.length > SHOWN && h("span", { class: "hint" }, t("form.preview.more", { n: nodes.length - SHOWN }));
  return [h("code", {}, reason), number(nodes.length), h("span", { class: "raw" }, worded(nodes[0])), [names, more]];
}
