// Tables: sorted by the heading that is pressed, filtered by words, copied as CSV, Markdown and LaTeX.
// Without this script they are whole, and what can be copied lies folded under them.

const FILTERED_FROM = 8; // rows

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// Numbers by value, text by letter, empty cells last.
function sorter(column, isNumeric, descending) {
  const text = (row) => row.cells[column].textContent.trim();
  const number = (value) => Number.parseFloat(value.replaceAll(",", ""));
  return (first, second) => {
    const [a, b] = [text(first), text(second)];
    if (!a || !b) return (a ? 0 : 1) - (b ? 0 : 1);
    const order = isNumeric ? number(a) - number(b) : a.localeCompare(b, undefined, { numeric: true });
    return descending ? -order : order;
  };
}

function makeSortable(table) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.ariaSort = "none";
    const button = element("button", { type: "button" }, ...heading.childNodes);
    heading.replaceChildren(button);
    button.addEventListener("click", () => {
      const descending = heading.ariaSort === "ascending";
      for (const each of headings) each.ariaSort = "none";
      heading.ariaSort = descending ? "descending" : "ascending";
      const rows = [...table.tBodies[0].rows];
      table.tBodies[0].append(...rows.sort(sorter(column, heading.classList.contains("number"), descending)));
    });
  });
}

// Shows the rows that hold every word, and says how many these are.
function filterField(table) {
  const rows = [...table.tBodies[0].rows];
  const shown = element("output", { className: "soft" });
  const field = element("input", { type: "search", autocomplete: "off", spellcheck: false });
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/);
    for (const row of rows) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
    shown.value = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
  });
  return [element("label", {}, "Filter ", field), shown];
}

function copyButtons(copies) {
  const said = element("output", { className: "soft" });
  const buttons = [...copies.querySelectorAll("textarea")].map((source) => {
    const button = element("button", { type: "button", ariaLabel: `Copy as ${source.ariaLabel}` }, source.ariaLabel);
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(source.value);
        said.value = `Copied as ${source.ariaLabel}`;
      } catch {
        // A page from a disk may be refused the clipboard: then the text is there to be taken by hand.
        copies.hidden = false;
        copies.open = true;
        source.select();
        said.value = "Marked below: copy it with the keyboard";
      }
    });
    return button;
  });
  copies.hidden = true;
  return [element("span", { className: "copy" }, "Copy ", ...buttons), said];
}

for (const part of document.querySelectorAll(".table")) {
  const table = part.querySelector("table");
  makeSortable(table);
  const tools = element("div", { className: "tools" });
  if (table.tBodies[0].rows.length >= FILTERED_FROM) tools.append(...filterField(table));
  tools.append(...copyButtons(part.querySelector(".copies")));
  part.prepend(tools);
}
