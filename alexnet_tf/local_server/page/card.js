// The model's card, a Markdown file beside the export, as elements: titles, lists, tables, paragraphs, of text alone.

/** The elements of a card. */
export function elementsOfCard(text) {
  const blocks = text.split(/\n\s*\n/).map(block => block.split("\n").filter(line => line.trim()));
  return blocks.filter(lines => lines.length).map(elementOf);
}

function elementOf(lines) {
  if (lines[0].startsWith("# ")) return made("h2", plain(lines[0].slice(2)));
  if (lines[0].startsWith("## ")) return made("h3", plain(lines[0].slice(3)));
  if (lines.every(line => line.startsWith("- "))) {
    return made("ul", ...lines.map(line => made("li", plain(line.slice(2)))));
  }
  if (lines.every(line => line.startsWith("|"))) return tableOf(lines.map(cellsOf));
  return made("p", plain(lines.join(" ")));
}

/** A table in a box of its own, which scrolls where it is wider than the page. */
function tableOf([titles, , ...rows]) {
  const head = made("thead", made("tr", ...titles.map(title => made("th", title))));
  head.querySelectorAll("th").forEach(cell => { cell.scope = "col"; });
  const body = made("tbody", ...rows.map(row => made("tr", ...row.map(cell => made("td", cell)))));
  const box = made("div", made("table", head, body));
  box.className = "wide";
  box.tabIndex = 0;
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", titles.join(", "));
  return box;
}

function cellsOf(line) {
  return line.split(/(?<!\\)\|/).slice(1, -1).map(cell => plain(cell.trim()));
}

function plain(text) { return text.replaceAll("\\|", "|").replaceAll("&lt;", "<"); }

function made(name, ...content) {
  const element = document.createElement(name);
  element.append(...content);
  return element;
}
